package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
)

func TestTap_ReadsWhereAMessageIsStored(t *testing.T) {
	for reply, want := range map[string][3]int64{
		"$JS.ACK.funker.ACCHASH.FUNKER_LOG.fn-x.1.42.7.1795458792141123456.9":       {42, 7, 1795458792141},
		"$JS.ACK.funker.ACCHASH.FUNKER_LOG.fn-x.1.42.7.1795458792141123456.9.token": {42, 7, 1795458792141},
		"$JS.ACK.FUNKER_LOG.fn-x.1.43.7.1795458792141123456.0":                      {43, 7, 1795458792141},
		"_INBOX.x": {}, "": {},
	} {
		if seq, order, stored := metadata([]byte(reply)); int64(seq) != want[0] || int64(order) != want[1] || stored != want[2] {
			t.Errorf("%s: got %d, %d, %d", reply, seq, order, stored)
		}
	}
}

// odd is a server that greets a tap and then says what the test wants, once the tap has asked for messages.
func odd(t *testing.T, says string) *tap {
	t.Helper()
	client, server := net.Pipe()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		defer server.Close()
		in := bufio.NewReader(server)
		_, err := io.WriteString(server, `INFO {"nonce":"abc"}`+"\r\n")
		for line := ""; err == nil && !strings.HasPrefix(line, "{"); {
			line, err = in.ReadString('\n')
		}
		if err == nil {
			fmt.Fprint(server, says) // which may hang up before it has read all
		}
	}()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	tap, err := openTap(client, key)
	if err != nil {
		t.Fatal(err)
	}
	go tap.run()
	t.Cleanup(func() {
		client.Close()
		<-tap.ended
		<-asked
	})
	return tap
}

func TestTap_TakesNothingForAMessageThatIsNone(t *testing.T) {
	for _, says := range []string{
		"", "-ERR 'Slow Consumer'\r\n", "HMSG a\r\n", "HMSG a 1 b 10 5\r\nxxxxx\r\n", "MSG a 1 b 99999999\r\n", "+OK\r\n", "NONSENSE",
		"HMSG funker.log.a.b 1 $JS.ACK.S.c.1.2.3.4.5 12 12\r\nNATS/1.0", strings.Repeat("x", 100_000),
	} {
		tap := odd(t, says)
		got, _, err := tap.pull(t.Context(), streamLog, "c", 5, func(*tapMessage) { t.Errorf("%.40q: a message came", says) })
		if err == nil || got != 0 {
			t.Errorf("%.40q: got %d, %v", says, got, err)
		}
	}
}

func TestTap_GivesEveryMessageAndKnowsTheEnd(t *testing.T) {
	header := "NATS/1.0\r\nFunker-Outcome: ok\r\n\r\n"
	message := func(seq int) string {
		return fmt.Sprintf("HMSG funker.log.a.b 1 $JS.ACK.S.c.1.%d.1.5000000.0 %d %d\r\n%s\"x\"\r\n", seq, len(header), len(header)+3, header)
	}
	status := func(pull int, line string) string { return fmt.Sprintf("PULL%d %s", pull, line) }
	for _, c := range []struct {
		says  []string
		got   int
		known bool
	}{
		{[]string{message(1), message(2), message(3)}, 3, true},
		{[]string{"PING\r\n", message(1), "MSG funker.log.a.b 1 $JS.ACK.S.c.1.2.1.5000000.0 0\r\n\r\n", status(1, "NATS/1.0 404 No Messages")}, 2, true},
		{[]string{status(0, "NATS/1.0 404 of another pull"), message(1), status(1, "NATS/1.0 409 Consumer Deleted")}, 1, false},
		{[]string{status(1, "NATS/1.0 503")}, 0, false},
	} {
		tap := speaks(t, c.says)
		last := uint64(0)
		got, known, err := tap.pull(t.Context(), "S", "c", 3, func(m *tapMessage) {
			if m.seq != last+1 || m.stored != 5 || string(m.subject) != "funker.log.a.b" {
				t.Errorf("got %d at %d on %s", m.seq, m.stored, m.subject)
			}
			last = m.seq
		})
		if err != nil || got != c.got || known != c.known {
			t.Errorf("%q: got %d, %v, %v, want %d, %v", c.says, got, known, err, c.got, c.known)
		}
	}
}

// speaks is a server that answers the first pull. PULL1 stands for its inbox.
func speaks(t *testing.T, says []string) *tap {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := bufio.NewReader(server)
		fmt.Fprint(server, "INFO {\"nonce\":\"abc\"}\r\n")
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			f := strings.Fields(line)
			if len(f) < 3 || f[0] != "PUB" {
				continue
			}
			go in.WriteTo(io.Discard) //nolint:errcheck // the request, and PONG, until the connection ends
			for _, s := range says {
				if n, header, ok := strings.Cut(strings.TrimPrefix(s, "PULL"), " "); ok && strings.HasPrefix(s, "PULL") {
					inbox := strings.TrimSuffix(f[2], "1") + n
					header += "\r\n\r\n"
					s = fmt.Sprintf("HMSG %s 1 %d %d\r\n%s\r\n", inbox, len(header), len(header), header)
				}
				fmt.Fprint(server, s)
			}
			return
		}
	}()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	tap, err := openTap(client, key)
	if err != nil {
		t.Fatal(err)
	}
	go tap.run()
	t.Cleanup(func() {
		client.Close()
		<-tap.ended
		<-done
		server.Close()
	})
	return tap
}

func TestTap_EndsWithTheContextOfAPull(t *testing.T) {
	tap := speaks(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := tap.pull(ctx, "S", "c", 1, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	select {
	case <-tap.ended:
	default:
		t.Error("the connection is still open")
	}
}
