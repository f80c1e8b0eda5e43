package funker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

func TestCall_ReturnsTheReplyByteForByte(t *testing.T) {
	t.Parallel()
	for name, document := range documents(t) {
		reply, err := new(funker.Client).Call(t.Context(), startPeer(t, replying(document)), []byte(`{}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := string(reply), document; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestCall_DropsWhiteSpaceAroundTheReply(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"{\"a\": 1}\n", "\r\n\t {\"a\": 1}", " {\"a\": 1} \n\n"} {
		reply, err := new(funker.Client).Call(t.Context(), startPeer(t, replying(sent)), []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(reply), `{"a": 1}`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCall_SendsTheRequestAloneAndThenItsEnd(t *testing.T) {
	t.Parallel()
	request := `{"x":1,"y":2}`
	received := make(chan string, 1)
	addr := startPeer(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn)
		received <- string(data)
		_, _ = io.WriteString(conn, "3")
	})
	reply, err := new(funker.Client).Call(t.Context(), addr, []byte(request))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-received, request; got != want {
		t.Errorf("got request %q, want %q", got, want)
	}
	if got, want := string(reply), "3"; got != want {
		t.Errorf("got reply %q, want %q", got, want)
	}
}

func TestCall_JoinsAReplyThatComesByteByByte(t *testing.T) {
	t.Parallel()
	want := `{"grüße":"日本語 😀"}`
	addr := startPeer(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		drip(conn, want)
	})
	reply, err := new(funker.Client).Call(t.Context(), addr, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(reply); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// drip sends a byte each millisecond, so that characters are split over packets.
func drip(conn io.Writer, text string) {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for i := range len(text) {
		<-pace.C
		if _, err := conn.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

func TestCall_TakesLargeRepliesAndRequests(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn)
		_, _ = conn.Write(data)
	})
	for _, size := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 5 << 20} {
		request := jsonString(size)
		reply, err := new(funker.Client).Call(t.Context(), addr, request)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(reply, request) {
			t.Errorf("%d bytes came back as %d others", size, len(reply))
		}
	}
}

// jsonString is a JSON value of size bytes.
func jsonString(size int) []byte { return []byte(`"` + strings.Repeat("x", size-2) + `"`) }

func TestCall_RefusesAReplyOverTheLimitOnly(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 100, 16 << 10, 16<<10 + 1, 100_000} {
		client := funker.Client{MaxReply: int64(limit)}
		exact := strings.Repeat("1", limit)
		if _, err := client.Call(t.Context(), startPeer(t, replying(exact)), []byte(`{}`)); err != nil {
			t.Errorf("reply of %d bytes: %v", limit, err)
		}
		_, err := client.Call(t.Context(), startPeer(t, replying(exact+"1")), []byte(`{}`))
		wantError(t, err, funker.PhaseRead, funker.StartedYes)
		if want := fmt.Sprintf("reply too large: the limit is %d bytes", limit); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
		if !errors.Is(err, funker.ErrReplyTooLarge) {
			t.Errorf("got %v, want %v", err, funker.ErrReplyTooLarge)
		}
	}
}

func TestCall_StopsReadingAnEndlessReply(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, func(conn *net.TCPConn) {
		for err := error(nil); err == nil; {
			_, err = conn.Write(make([]byte, 1<<16))
		}
	})
	_, err := new(funker.Client).Call(t.Context(), addr, []byte(`{}`))
	wantError(t, err, funker.PhaseRead, funker.StartedYes)
}

func TestCall_RepliesOfOneClientDoNotMix(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn)
		_, _ = conn.Write(data)
	})
	var client funker.Client
	var callers sync.WaitGroup
	replies := make([][]byte, 50)
	for i := range replies {
		callers.Go(func() {
			reply, err := client.Call(t.Context(), addr, fmt.Appendf(nil, `{"caller":%d}`, i))
			if err != nil {
				t.Error(err)
			}
			replies[i] = reply
		})
	}
	callers.Wait()
	for i, reply := range replies {
		if got, want := string(reply), fmt.Sprintf(`{"caller":%d}`, i); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCall_ReturnsWhatTheFunctionSaysOfItsFailure(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]funker.Failure{
		`{"funkerError":{"message":"no such city","retry":false}}`:         {Message: "no such city"},
		`{"funkerError":{"message":"busy","retry":true,"retryAfter":2.5}}`: {Message: "busy", Retry: true, RetryAfter: 2500 * time.Millisecond},
		` {"funkerError" : {"message":"spaced"} } `:                        {Message: "spaced", Retry: true},
		`{"funkerError":{}}`: {Retry: true},
		`{"funkerError":{"message":null,"retry":null,"retryAfter":null}}`: {Retry: true},
		`{"funkerError":{"message":"m","Retry":false,"code":7}}`:          {Message: "m", Retry: true},
		`{"funkerError":{"message":"m","retryAfter":-1}}`:                 {Message: "m", Retry: true},
		`{"funkerError":{"message":"m","retryAfter":1e300}}`:              {Message: "m", Retry: true, RetryAfter: 365 * 24 * time.Hour},
	} {
		_, err := new(funker.Client).Call(t.Context(), startPeer(t, replying(reply)), []byte(`{}`))
		if got := *wantFailure(t, err); got != want {
			t.Errorf("%s: got %+v, want %+v", reply, got, want)
		}
	}
}

func TestCall_TakesAFunkerErrorAmongOtherThingsForAReply(t *testing.T) {
	t.Parallel()
	for _, want := range []string{
		`{"funkerError":{"message":"m"},"result":1}`,
		`{"event":{"funkerError":{"message":"m"}}}`,
		`{"FunkerError":{"message":"m"}}`,
		`[{"funkerError":{"message":"m"}}]`,
		`"\"funkerError\""`,
	} {
		reply, err := new(funker.Client).Call(t.Context(), startPeer(t, replying(want)), []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(reply); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCall_HearsARefusalOfARequestThatWasNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	l := listen(t)
	served := make(chan error, 1)
	go func() {
		served <- funker.Handle(t.Context(), l, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	}()
	_, err := new(funker.Client).Call(t.Context(), l.Addr().String(), jsonString(funker.DefaultMaxRequest+1<<20))
	f := wantFailure(t, err)
	if f.Retry || !strings.Contains(f.Message, "limit") {
		t.Errorf("got %+v, want a refusal for good that names the limit", f)
	}
	if <-served == nil {
		t.Error("Handle returned no error for a request over the limit")
	}
}
