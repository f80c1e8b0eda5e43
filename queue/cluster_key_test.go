package queue

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func clusterKey(t *testing.T) ClusterKey {
	t.Helper()
	key, err := ParseClusterKey(NewClusterKey())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// handshake connects two ends, each with a configuration that follows from a key.
func handshake(t *testing.T, client, server ClusterKey) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	configs := make([]*tls.Config, 2)
	for i, key := range []ClusterKey{client, server} {
		if configs[i], err = key.tls(); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer c.Close()
		served <- tls.Server(c, configs[1]).HandshakeContext(t.Context())
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), configs[0])
	if err == nil {
		// With TLS 1.3 a client learns later that its certificate was refused.
		if _, err = c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			err = nil
		}
		c.Close()
	}
	return errors.Join(err, <-served)
}

func TestClusterKey_GatewaysTakeEachOthersCertificatesAndNoOthers(t *testing.T) {
	key := clusterKey(t)
	if err := handshake(t, key, key); err != nil {
		t.Errorf("the same key: %v", err)
	}
	if err := handshake(t, clusterKey(t), key); err == nil {
		t.Error("a client with another key was let in")
	}
	if err := handshake(t, key, clusterKey(t)); err == nil {
		t.Error("a server with another key was trusted")
	}
}

func TestClusterKey_WhatFollowsFromItIsTheSameEverywhereAndDiffersByPurpose(t *testing.T) {
	key := clusterKey(t)
	one, err := key.Derive("one")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := key.Derive("one")
	other, _ := key.Derive("other")
	if !bytes.Equal(one, again) || bytes.Equal(one, other) || bytes.Equal(one, key) || len(one) != 32 {
		t.Errorf("%x, %x, %x of %x", one, again, other, []byte(key))
	}
	another, _ := clusterKey(t).Derive("one")
	if bytes.Equal(one, another) {
		t.Error("two keys, one secret")
	}
}

func TestParseClusterKey_RefusesWhatIsNoneAndDoesNotRepeatIt(t *testing.T) {
	good := NewClusterKey()
	if _, err := ParseClusterKey(" " + good + "\n"); err != nil {
		t.Errorf("with space around it: %v", err)
	}
	for _, bad := range []string{"", "secret", good[:63], good[:62], good + "00", "zz" + good[2:], good[:20] + "\n" + good[20:]} {
		_, err := ParseClusterKey(bad)
		if err == nil || len(bad) > 4 && strings.Contains(err.Error(), bad[:4]) || !strings.Contains(err.Error(), "cluster key") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if b, err := hex.DecodeString(good); err != nil || len(b) != 32 {
		t.Errorf("made %q", good)
	}
}

func TestParsePeers_SaysWhatIsWrong(t *testing.T) {
	if got, err := ParsePeers("a=h1:1, b=h2:2,c=[::1]:3"); err != nil || len(got) != 3 || got["c"] != "[::1]:3" || got["b"] != "h2:2" {
		t.Errorf("got %v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":              "write name=host:port",
		"a":             "write name=host:port",
		"a=h":           "write name=host:port",
		"a=:1":          "write name=host:port",
		"a b=h:1":       "write name=host:port",
		"=h:1":          "write name=host:port",
		"a=h:1,a=h:2":   "two gateways a",
		"a=h:1,,b=h2:2": "write name=host:port",
	} {
		if _, err := ParsePeers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestClusterCheck_RefusesWhatCannotWork(t *testing.T) {
	three := map[string]string{"a": "h:1", "b": "h:2", "c": "h:3"}
	good := Cluster{Node: "a", Peers: three, Key: clusterKey(t)}
	if err := good.Check(); err != nil {
		t.Errorf("good: %v", err)
	}
	for what, change := range map[string]func(*Cluster){
		"3 or 5 gateways, and 2":    func(c *Cluster) { c.Peers = map[string]string{"a": "h:1", "b": "h:2"} },
		"none of a, b, c":           func(c *Cluster) { c.Node = "d" },
		"64 hex digits":             func(c *Cluster) { c.Key = nil },
		"choose 250ms to 4s":        func(c *Cluster) { c.Patience = time.Minute },
		"patience with a leader is": func(c *Cluster) { c.Patience = time.Millisecond },
	} {
		c := good
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %q", err, what)
		}
	}
}

func TestOpen_AFolderBelongsToOneGatewayForEver(t *testing.T) {
	alone := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: alone, Log: testLog(t)})
	if err == nil {
		err = q.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Node: "a", Peers: map[string]string{"a": freePort(t), "b": freePort(t), "c": freePort(t)}, Key: clusterKey(t), Patience: DefaultPatience / 2}
	_, err = Open(t.Context(), Options{Dir: alone, Listen: "127.0.0.1:0", Log: testLog(t), Cluster: c})
	if !errors.Is(err, ErrCluster) || !strings.Contains(err.Error(), "stands alone") {
		t.Errorf("folder of one that stands alone: %v", err)
	}
	joined := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it does not wait for the others, and the folder is its own all the same
	if _, err := Open(ctx, Options{Dir: joined, Listen: "127.0.0.1:0", Log: testLog(t), Cluster: c}); err == nil {
		t.Error("opened without the others")
	}
	if data, err := os.ReadFile(filepath.Join(joined, clusterFile)); err != nil || string(data) != "a\n" {
		t.Errorf("%s: %q, %v", clusterFile, data, err)
	}
	if _, err := Open(t.Context(), Options{Dir: joined, Log: testLog(t)}); !errors.Is(err, ErrCluster) {
		t.Errorf("alone, in a folder of a cluster: %v", err)
	}
	other := *c
	other.Node = "b"
	if _, err := Open(t.Context(), Options{Dir: joined, Listen: "127.0.0.1:0", Log: testLog(t), Cluster: &other}); !errors.Is(err, ErrCluster) {
		t.Errorf("b, in the folder of a: %v", err)
	}
}
