package funker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

func TestMain(m *testing.M) {
	if os.Getenv(fewPorts) != "" { // this is the process that TestCall_SaysWhenNoLocalPortIsLeft starts
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// fewPorts is the environment variable that marks a process with few local ports.
const fewPorts = "FUNKER_TEST_FEW_PORTS"

func listen(t testing.TB) net.Listener {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// startPeer is a function of few morals: it runs script on every connection, and
// closes the connection after it.
func startPeer(t testing.TB, script func(*net.TCPConn)) (addr string) {
	t.Helper()
	l := listen(t)
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				script(conn.(*net.TCPConn))
			})
		}
	})
	return l.Addr().String()
}

// replying reads a request to its end and sends reply.
func replying(reply string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		_, _ = io.WriteString(conn, reply)
	}
}

// resetting makes the close of conn a reset.
func resetting(conn *net.TCPConn) { _ = conn.SetLinger(0) }

// goneAddr is an address where nobody listens.
func goneAddr(t testing.TB) string {
	t.Helper()
	l := listen(t)
	l.Close()
	return l.Addr().String()
}

// silentAddr is an address that does not answer the attempt to connect, because
// its queue is full.
func silentAddr(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }), err); err != nil {
		t.Fatal(err)
	}
	dial(t, l.Addr().String()) // the one place in the queue
	return l.Addr().String()
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := tryDial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func tryDial(ctx context.Context, addr string) (*net.TCPConn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// exchange is a caller at byte level: it sends each part with a write of its own,
// half-closes, and reads to the end.
func exchange(t testing.TB, addr string, parts ...string) string {
	t.Helper()
	conn := dial(t, addr)
	for _, part := range parts {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return readAll(t, conn)
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func wantError(t testing.TB, err error, phase funker.Phase, started funker.Started) {
	t.Helper()
	e, ok := errors.AsType[*funker.Error](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a *funker.Error", err, err)
	}
	if e.Phase != phase || e.Started != started {
		t.Fatalf("got phase %v, started %v, want %v, %v: %v", e.Phase, e.Started, phase, started, err)
	}
}

// timedOut is what a caller asks of an error, whose type is known from wantError.
func timedOut(err error) bool {
	e, ok := errors.AsType[*funker.Error](err)
	return ok && e.Timeout()
}

func wantFailure(t testing.TB, err error) *funker.Failure {
	t.Helper()
	f, ok := errors.AsType[*funker.Failure](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a *funker.Failure", err, err)
	}
	return f
}

// need finds a program that a test cannot do without.
func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing and CI has to run this test: %v", program, err)
	default:
		t.Skipf("NOT TESTED: %s is missing: %v", program, err)
	}
	return ""
}

// documents are JSON values to send, by name; with FUNKER_TEST_PAYLOADS and
// FUNKER_TEST_SEED set also those of the folders which they name.
func documents(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{
		"null":    `null`,
		"number":  `12345678901234567890.1234567890`,
		"markup":  `"<speak>Grüße & \u00fc</speak>"`,
		"spaces":  `{ "b" : 1,  "a" : [ 1.0, 1e3 ] }`,
		"twice":   `{"a":1,"a":2}`,
		"unicode": `{"smile":"😀","half":"\ud83d"}`,
	}
	for _, variable := range []string{"FUNKER_TEST_PAYLOADS", "FUNKER_TEST_SEED"} {
		folder := os.Getenv(variable)
		if folder == "" {
			t.Logf("%s is not set: own documents only", variable)
			continue
		}
		addFolder(t, all, folder)
	}
	return all
}

func addFolder(t testing.TB, all map[string]string, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = strings.Trim(string(data), " \t\r\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
