package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// served is a gateway or a worker in a process of its own, whose memory is its own.
type served struct {
	cmd    *exec.Cmd
	public string       // URL of a gateway
	queue  *queue.Queue // connected to it as an admin
	begin  time.Time
	ready  time.Duration // from begin
}

// serve starts this program as "serve" on the manifest and a store in the folder of the bench, and returns when it is
// ready. More flags take the place of those before.
func (b *bench) serve(ctx context.Context, name string, more ...string) (*served, error) {
	data := filepath.Join(b.dir, name)
	s, log, err := startSelf(ctx, append([]string{"serve", "--data", data, "--manifest", b.manifest(), "--functions", "--docker", engineOff,
		"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--grace", "1s"}, more...)...)
	if err != nil {
		return nil, err
	}
	if err := s.await(log, filepath.Join(data, queue.AdminKey)); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// startSelf starts this program in a process of its own. Its log has to be read, or it stands still.
func startSelf(ctx context.Context, args ...string) (*served, io.Reader, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program: %w", err)
	}
	s := &served{begin: time.Now()}
	s.cmd = exec.CommandContext(ctx, program, append(args, "--log-format", "json")...)
	s.cmd.Env = slices.DeleteFunc(os.Environ(), isSetting)
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make pipe: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	return s, log, nil
}

// isSetting reports whether a variable stands for a flag.
func isSetting(variable string) bool {
	return strings.HasPrefix(variable, "FUNKER_") && !strings.HasPrefix(variable, "FUNKER_TEST_")
}

// await reads the log up to the line which says that the gateway is ready, and connects. The rest of the log is dropped.
func (s *served) await(log io.Reader, key string) (err error) {
	var line struct{ Msg, Public, NATS string }
	last := ""
	for lines := bufio.NewScanner(log); line.Msg != "ready"; {
		if !lines.Scan() {
			return fmt.Errorf("the gateway has ended: %s", last)
		}
		last = lines.Text()
		_ = json.Unmarshal(lines.Bytes(), &line) // an error at the start is no JSON
	}
	s.ready, s.public = time.Since(s.begin), line.Public
	go func() { _, _ = io.Copy(io.Discard, log) }() // a gateway that cannot log would stand still
	s.queue, err = queue.Dial(line.NATS, key, queue.RoleAdmin, slog.New(slog.DiscardHandler))
	return err
}

func (s *served) stop() error {
	var err error
	if s.queue != nil {
		err = s.queue.Close()
	}
	return errors.Join(err, s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait())
}

// resident is how much memory the process has, in bytes.
func (s *served) resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	_, text, _ := strings.Cut(string(status), "VmRSS:")
	text, _, _ = strings.Cut(text, "kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	return kib << 10, nil
}
