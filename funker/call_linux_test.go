package funker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// The test runs itself again in a network of its own, where the kernel has two
// ports to give away.
func TestCall_SaysWhenNoLocalPortIsLeft(t *testing.T) {
	if os.Getenv(fewPorts) != "" {
		useUpPorts(t)
		return
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
	process.Env = append(os.Environ(), fewPorts+"=1")
	process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	output, err := process.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), strings.Contains(string(output), "--- SKIP"):
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must grant a network namespace: %v\n%s", err, output)
		}
		t.Skipf("NOT TESTED: this kernel grants no network namespace: %v\n%s", err, output)
	case err != nil, !strings.Contains(string(output), "--- PASS"):
		t.Fatalf("%v\n%s", err, output)
	}
}

func useUpPorts(t *testing.T) {
	if err := errors.Join(raiseLoopback(), setKernel("ip_local_port_range", "40000 40001"), setKernel("tcp_tw_reuse", "0")); err != nil {
		t.Skip(err)
	}
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = funker.Serve(ctx, l, echo) }()
	for range 2 {
		if _, err := new(funker.Client).Call(t.Context(), "127.0.0.1:9999", []byte(`1`)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = new(funker.Client).Call(t.Context(), "127.0.0.1:9999", []byte(`1`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
	if !errors.Is(err, funker.ErrNoPorts) || !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("got %v, want %v and %v", err, funker.ErrNoPorts, syscall.EADDRNOTAVAIL)
	}
}

func setKernel(name, value string) error {
	return os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644)
}

// raiseLoopback is "ip link set lo up".
func raiseLoopback() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var request [40]byte // struct ifreq: 16 bytes of name, then the flags
	copy(request[:], "lo")
	binary.NativeEndian.PutUint16(request[16:], syscall.IFF_UP)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}

func TestCall_KeepsAConnectionAliveWhileTheFunctionWorks(t *testing.T) {
	t.Parallel()
	accepted, finish := make(chan *net.TCPConn, 1), make(chan struct{})
	addr := startPeer(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		accepted <- conn
		<-finish
		_, _ = conn.Write([]byte("1"))
	})
	called := make(chan error, 1)
	go func() {
		client := funker.Client{KeepAlive: 50 * time.Second}
		_, err := client.Call(t.Context(), addr, []byte(`{}`))
		called <- err
	}()
	kind, left, _ := strings.Cut(timerOf(t, <-accepted), ":")
	ticks, err := strconv.ParseInt(left, 16, 64)
	if kind != "02" || err != nil || ticks < 4000 || ticks > 5000 {
		t.Errorf("got timer %s with %d ticks left, want the keepalive timer (02) with about 5000", kind, ticks)
	}
	close(finish)
	if err := <-called; err != nil {
		t.Error(err)
	}
}

// timerOf is the column "tr:tm->when" of /proc/net/tcp for the caller's end of
// accepted, once all that it has sent is acknowledged (no timer 01).
func timerOf(t testing.TB, accepted *net.TCPConn) (timer string) {
	t.Helper()
	ends := fmt.Sprintf("0100007F:%04X 0100007F:%04X",
		accepted.RemoteAddr().(*net.TCPAddr).Port, accepted.LocalAddr().(*net.TCPAddr).Port)
	within(t, func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			if columns := strings.Fields(line); strings.Contains(line, ends) {
				timer = columns[5]
			}
		}
		return timer != "" && !strings.HasPrefix(timer, "01")
	})
	return timer
}
