package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// wire is a connection between two nodes that a test can disturb: a TCP proxy.
type wire struct {
	address string
	target  string
	gates   [2]sync.RWMutex // to the target, and back; locked: nothing passes
	mu      sync.Mutex
	conns   map[net.Conn]bool
	snare   *snare
	wg      sync.WaitGroup
}

// snare holds back a text that comes from the target, and all after it.
type snare struct {
	text            []byte
	caught, release chan struct{}
}

const (
	there = iota
	back
)

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &wire{address: l.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	k.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.wg.Go(func() { k.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); k.cut(); k.wg.Wait() })
	return k
}

func (k *wire) serve(c net.Conn) {
	defer k.forget(c)
	k.keep(c)
	far, err := net.Dial("tcp", k.target)
	if err != nil {
		return
	}
	defer k.forget(far)
	k.keep(far)
	var both sync.WaitGroup
	both.Go(func() { defer k.forget(far); k.pass(far, c, there) })
	both.Go(func() { defer k.forget(c); k.pass(c, far, back) })
	both.Wait()
}

func (k *wire) keep(c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns[c] = true
}

func (k *wire) forget(c net.Conn) {
	c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
}

func (k *wire) pass(to io.Writer, from io.Reader, way int) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if way == back {
			k.ensnare(buf[:n])
		}
		k.gates[way].RLock()
		_, err = to.Write(buf[:n])
		k.gates[way].RUnlock()
		if err != nil {
			return
		}
	}
}

// trap holds back the next text of this kind that comes from the target, until it is released.
func (k *wire) trap(text string) (caught <-chan struct{}, release func()) {
	s := &snare{[]byte(text), make(chan struct{}), make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.snare = s
	return s.caught, sync.OnceFunc(func() { close(s.release) })
}

func (k *wire) ensnare(data []byte) {
	k.mu.Lock()
	s := k.snare
	if s == nil || !bytes.Contains(data, s.text) {
		k.mu.Unlock()
		return
	}
	k.snare = nil
	k.mu.Unlock()
	close(s.caught)
	<-s.release
}

// hold lets nothing pass that way, new connections included, until it is released. What was sent arrives then.
func (k *wire) hold(ways ...int) (release func()) {
	for _, w := range ways {
		k.gates[w].Lock()
	}
	return sync.OnceFunc(func() {
		for _, w := range ways {
			k.gates[w].Unlock()
		}
	})
}

// cut breaks the connections. What is on its way is lost.
func (k *wire) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		c.Close()
	}
}
