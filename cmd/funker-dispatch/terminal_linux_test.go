package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// terminal opens a pseudo terminal: what is written to tty can be read from its other end, and the other way round.
func terminal(t *testing.T) (end, tty *os.File) {
	t.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	raw, err := end.SyscallConn() // Fd would make reads wait without a deadline
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var unlock, number error
	err = raw.Control(func(fd uintptr) {
		unlock = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		n, number = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	})
	if err := errors.Join(err, unlock, number, end.SetReadDeadline(time.Now().Add(20*time.Second))); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return end, tty
}

// seen reads what a terminal shows until it has a text.
func seen(t *testing.T, end *os.File, text string) string {
	t.Helper()
	var all []byte
	part := make([]byte, 4096)
	for !bytes.Contains(all, []byte(text)) {
		n, err := end.Read(part)
		if err != nil {
			t.Fatalf("no %q in %q: %v", text, all, err)
		}
		all = append(all, part[:n]...)
	}
	return string(all)
}

func TestProgress_DrawsABarOnATerminalAndRemovesIt(t *testing.T) {
	end, tty := terminal(t)
	p := newProgress(tty, "replayed", 10)
	p.tell(queue.Reach{Done: 4, Failed: 1})
	p.clear()
	fmt.Fprintln(tty, "done")
	got := seen(t, end, "done")
	if !strings.HasPrefix(got, "\r[###############...............] 5 of 10, 1 failed") || !strings.Contains(got, "\r\x1b[Kdone") {
		t.Errorf("got %q", got)
	}
}

func TestProgress_WritesALineFromTimeToTimeElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out, "replayed", 1200)
		for i := range 1200 {
			time.Sleep(10 * time.Millisecond)
			p.tell(queue.Reach{Done: i + 1})
		}
		p.clear()
		if want := "replayed 500 of 1200, 100/s, 7s left\nreplayed 1000 of 1200, 100/s, 2s left\n"; out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	})
}

func TestProgress_NobodyLooksAtAFile(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) || isTerminal(&bytes.Buffer{}) {
		t.Error("/dev/null or a buffer is taken for a terminal")
	}
	if _, tty := terminal(t); !isTerminal(tty) {
		t.Error("a terminal is not taken for one")
	}
}

func TestPrintBody_ShowsTheStartOfALargeOneOnATerminal(t *testing.T) {
	body := []byte(`"` + strings.Repeat("é", shownBody) + `"`)
	end, tty := terminal(t)
	printed := make(chan error, 1)
	go func() { printed <- printBody(tty, body) }()
	shown := seen(t, end, "-o json")
	if err := <-printed; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(shown, "é\r\n… 131074 bytes in all") || len(shown) > shownBody+100 {
		t.Errorf("a terminal shows %d bytes, and at the end %q", len(shown), shown[max(0, len(shown)-100):])
	}
	var file bytes.Buffer
	if err := printBody(&file, body); err != nil || file.Len() != len(body)+2 {
		t.Errorf("a file gets %d bytes: %v", file.Len(), err)
	}
}

func TestConfirm_AsksThePersonAtTheTerminal(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "\n": false, "n\n": false, "\x04": false} {
		end, tty := terminal(t)
		var asked buffer
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetIn(tty)
		cmd.SetErr(&asked)
		if _, err := end.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		if err := confirm(cmd, "Drop 3 dead letters?"); (err == nil) != want || asked.String() != "Drop 3 dead letters? [y/N] " {
			t.Errorf("%q after %q: %v", answer, asked.String(), err)
		}
	}
}

func TestConfirm_CtrlCIsNo(t *testing.T) {
	end, tty := terminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetIn(tty)
	cmd.SetErr(tty)
	answered := make(chan error, 1)
	go func() { answered <- confirm(cmd, "Drop 3 dead letters?") }()
	seen(t, end, "[y/N]")
	interrupt()
	if err := <-answered; err == nil {
		t.Error("Ctrl-C was taken for yes")
	}
	if _, err := end.WriteString("\n"); err != nil { // ends the read that is left
		t.Fatal(err)
	}
}
