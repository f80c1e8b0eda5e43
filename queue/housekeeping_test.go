package queue

import (
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
)

// bubble runs a test with a clock of its own, which moves on when everything waits: ten minutes take a fifth of a second.
// It works with in-process connections only. One clock, which all servers of a process share, ticks outside: the test's
// begins with it. The timers that the client keeps for the next user may not cross the border: two collections empty a
// sync.Pool.
func bubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	dropTimers := func() { runtime.GC(); runtime.GC() }
	ats.Register()
	dropTimers()
	t.Cleanup(func() {
		dropTimers()
		ats.Unregister()
	})
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		test(t)
	})
}

// another returns a second connection to the queue's server, as a worker of another node has one.
func another(t *testing.T, q *Queue) *Queue {
	t.Helper()
	key, err := loadKey(filepath.Join(filepath.Dir(q.server.lock.Name()), WorkerKey))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := withKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w, err := connect(DialOptions{Role: RoleWorker, Log: testLog(t)}, auth, nats.InProcessServer(q.server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	return w
}
