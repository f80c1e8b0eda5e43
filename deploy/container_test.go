package deploy

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

func frameOf(output byte, text string) string {
	head := [8]byte{output}
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return string(head[:]) + text
}

// execOf is a connection to a command that has written frames and ended.
func execOf(t *testing.T, frames ...string) *execConn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	return &execConn{Conn: here, in: bufio.NewReaderSize(strings.NewReader(strings.Join(frames, "")), 16)}
}

func TestExecConn_TakesTheOutputsApart(t *testing.T) {
	c := execOf(t, frameOf(1, "one "), frameOf(2, "remark"), frameOf(1, ""), frameOf(1, strings.Repeat("two", 100)))
	got, err := io.ReadAll(c)
	if want := "one " + strings.Repeat("two", 100); string(got) != want || err == nil || err.Error() != "remark" {
		t.Errorf("got %q, %v; want what went to standard output, and the rest as the reason", got, err)
	}
	if got, err := io.ReadAll(execOf(t, frameOf(1, "one"))); string(got) != "one" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestExecConn_KeepsLittleOfStandardError(t *testing.T) {
	c := execOf(t, frameOf(2, strings.Repeat("x", maxStderr-1)), frameOf(2, "yz"), frameOf(2, "more"), frameOf(1, "out"))
	got, err := io.ReadAll(c)
	if string(got) != "out" || err == nil || len(err.Error()) != maxStderr {
		t.Errorf("got %q and an error of %d bytes", got, len(err.Error()))
	}
}

func TestExecConn_EndsInTheMiddleOfAFrame(t *testing.T) {
	for _, broken := range []string{frameOf(1, "text")[:10], frameOf(1, "")[:3], frameOf(2, "text")[:10]} {
		if _, err := io.ReadAll(execOf(t, broken)); err == nil {
			t.Errorf("%q ends well", broken)
		}
	}
}
