package deploy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// roleGateway is the label of the containers that run a gateway.
const roleGateway = "funker.role=gateway"

// ErrNoGateway means that no container of the engine is a gateway that runs.
var ErrNoGateway = errors.New("no container with the label " + roleGateway + " runs on this machine")

// GatewayContainer is a container in which a gateway runs.
type GatewayContainer struct {
	ID      string
	Name    string
	Command []string // its program and arguments
}

// Gateway finds the gateway that runs in a container of this engine. It returns ErrNoGateway, and an error that names
// them when there are several.
func (e *Engine) Gateway(ctx context.Context) (GatewayContainer, error) {
	found, err := e.docker.ContainerList(ctx, container.ListOptions{
		Filters: filters.NewArgs(filters.Arg("label", roleGateway), filters.Arg("status", "running")),
	})
	switch {
	case err != nil:
		return GatewayContainer{}, fmt.Errorf("look for the gateway: %w", explain(err))
	case len(found) == 0:
		return GatewayContainer{}, ErrNoGateway
	case len(found) > 1:
		var names []string
		for _, c := range found {
			names = append(names, nameOf(c))
		}
		return GatewayContainer{}, fmt.Errorf("several gateways run on this machine (%s): say which one with --nats-url and --key", strings.Join(names, ", "))
	}
	info, err := e.docker.ContainerInspect(ctx, found[0].ID)
	if err != nil {
		return GatewayContainer{}, fmt.Errorf("look at the gateway: %w", explain(err))
	}
	return GatewayContainer{ID: info.ID, Name: nameOf(found[0]), Command: append([]string{info.Path}, info.Args...)}, nil
}

func nameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// Exec runs a command in a container. What is written to the connection is its standard input, what is read its standard
// output. When it ends, reading returns io.EOF, or what it wrote to standard error.
func (e *Engine) Exec(ctx context.Context, id string, command []string) (net.Conn, error) {
	made, err := e.docker.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: command, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, fmt.Errorf("run %s in the container: %w", command[0], explain(err))
	}
	attached, err := e.docker.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, fmt.Errorf("run %s in the container: %w", command[0], explain(err))
	}
	return &execConn{Conn: attached.Conn, in: attached.Reader}, nil
}

// execConn takes the two outputs of a command apart, which Docker sends as frames: a byte that says which of them it is,
// three that are 0, the length in four bytes, big-endian, and the data.
type execConn struct {
	net.Conn
	in     *bufio.Reader
	left   uint32 // bytes of the frame that are still to be read
	stderr bytes.Buffer
}

const (
	frameStderr = 2
	maxStderr   = 4 << 10 // what is kept of it
)

// Read implements io.Reader.
func (c *execConn) Read(p []byte) (int, error) {
	for c.left == 0 {
		if err := c.frame(); err != nil {
			return 0, err
		}
	}
	if uint64(len(p)) > uint64(c.left) {
		p = p[:c.left]
	}
	n, err := c.in.Read(p)
	c.left -= uint32(n) //nolint:gosec // at most left
	if c.left > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// frame reads on to the next frame of standard output.
func (c *execConn) frame() error {
	var head [8]byte
	_, err := io.ReadFull(c.in, head[:])
	if text := strings.TrimSpace(c.stderr.String()); errors.Is(err, io.EOF) && text != "" {
		return errors.New(text)
	}
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[4:])
	if head[0] != frameStderr {
		c.left = size
		return nil
	}
	keep := min(int64(size), int64(maxStderr-c.stderr.Len()))
	if _, err = io.CopyN(&c.stderr, c.in, keep); err == nil {
		_, err = io.CopyN(io.Discard, c.in, int64(size)-keep)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
