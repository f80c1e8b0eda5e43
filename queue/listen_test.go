package queue

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestListenAddress_OfARangeIsTheOneOfThisMachine(t *testing.T) {
	host, port, err := listenAddress(t.Context(), "nats-listen", "127.0.0.0/24:0")
	if err != nil || host != "127.0.0.1" || port != -1 {
		t.Errorf("got %s, %d, %v", host, port, err)
	}
	if _, _, err := listenAddress(t.Context(), "nats-listen", "203.0.113.0/24:0"); err == nil || !strings.Contains(err.Error(), "no address in 203.0.113.0/24") {
		t.Errorf("a range of others: got %v", err)
	}
}

func TestListenAddress_InUseIsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.0/8"} {
		if _, _, err := listenAddress(t.Context(), "nats-listen", host+":"+port); !errors.Is(err, ErrAddressInUse) {
			t.Errorf("%s: got %v, want ErrAddressInUse", host, err)
		}
	}
}

func TestListenAddress_TakesAddressesAndRefusesTheRest(t *testing.T) {
	for address, host := range map[string]string{"127.0.0.1:0": "127.0.0.1", ":0": "", "0.0.0.0:0": "0.0.0.0", "localhost:0": "localhost"} {
		if got, _, err := listenAddress(t.Context(), "nats-listen", address); err != nil || got != host {
			t.Errorf("%s: got %q, %v", address, got, err)
		}
	}
	for _, address := range []string{"queue", "127.0.0.1:x", "127.0.0.1:" + strconv.Itoa(1<<16), "203.0.113.1:0", "127.0.0.1/99:0"} {
		if _, _, err := listenAddress(t.Context(), "nats-listen", address); err == nil {
			t.Errorf("%s is taken", address)
		}
	}
}

func TestWorkersWithoutKey_MayBeWorkersAndNothingElse(t *testing.T) {
	q := openWith(t, Options{Dir: t.TempDir(), Listen: "localhost:0", WorkersWithoutKey: true})
	if err := q.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	remote, err := Dial(q.URL(), "", RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	work(t, remote, "Hello", 1, ok(`"hi"`))
	within(t, patience, "presence", func() bool { return q.Present("Hello") })
	if got, err := q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")}); err != nil || string(got) != `"hi"` {
		t.Errorf("call: got %s, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Ask[any](ctx, remote, "stats", nil); err == nil {
		t.Error("a worker without a key may ask for what is stored")
	}
	if _, err := Dial(q.URL(), "", RoleAdmin, testLog(t)); err == nil {
		t.Error("somebody without a key is an administrator")
	}
}

func TestDialWith_TakesTheBytesOfAKeyAndADialer(t *testing.T) {
	dir := t.TempDir()
	q := openWith(t, Options{Dir: dir, Listen: "127.0.0.1:0"})
	key := readFile(t, filepath.Join(dir, AdminKey))
	remote, err := DialWith(DialOptions{URL: "nats://nobody.invalid", Key: key, Role: RoleAdmin, Log: testLog(t), Dialer: func() (net.Conn, error) {
		return net.Dial("tcp", strings.TrimPrefix(q.URL(), "nats://"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	if _, err := remote.Stats(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := DialWith(DialOptions{URL: q.URL(), Key: []byte("no key"), Role: RoleAdmin, Log: testLog(t)}); err == nil {
		t.Error("bytes that are no key are taken")
	}
	if _, err := nats.Connect(q.URL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without --workers-without-key: got %v, want an authorization error", err)
	}
}
