package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
)

// lean is an http.RoundTripper that costs little: what the clients of a bench use of the processors, the gateway beside
// them lacks. It sends a request and reads the whole answer in the goroutine of the caller, on connections that are kept.
// It knows nothing of TLS and contexts, and does not notice when the server closes an idle connection.
type lean struct {
	mu   sync.Mutex
	idle map[string][]*leanConn // by address
}

type leanConn struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func (l *lean) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := l.take(req)
	if err != nil {
		return nil, err
	}
	resp, err := c.exchange(req)
	if err != nil {
		_ = c.Close() // what went wrong before says more
		return nil, err
	}
	if resp.Close {
		_ = c.Close() // all is read
		return resp, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle[req.URL.Host] = append(l.idle[req.URL.Host], c)
	return resp, nil
}

func (l *lean) take(req *http.Request) (*leanConn, error) {
	if c := l.pop(req.URL.Host); c != nil {
		return c, nil
	}
	c, err := new(net.Dialer).DialContext(req.Context(), "tcp", req.URL.Host)
	if err != nil {
		return nil, err
	}
	return &leanConn{c, bufio.NewReader(c), bufio.NewWriter(c)}, nil
}

func (l *lean) pop(address string) *leanConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := l.idle[address]
	if len(conns) == 0 {
		return nil
	}
	last := len(conns) - 1
	c := conns[last]
	l.idle[address] = conns[:last]
	return c
}

func (c *leanConn) exchange(req *http.Request) (*http.Response, error) {
	if err := req.Write(c.w); err != nil {
		return nil, err
	}
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.r, req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

func (l *lean) CloseIdleConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conns := range l.idle {
		for _, c := range conns {
			_ = c.Close() // nothing is on its way
		}
	}
	clear(l.idle)
}
