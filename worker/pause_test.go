package worker

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Whatever is paused and resumed while its task runs something, the task never gets more connections than it takes, and
// each event runs once.
func TestPause_AndResumeWhileATaskWorksKeepsToItsConnections(t *testing.T) {
	for _, lifecycle := range []deploy.Lifecycle{deploy.LifecycleServer, deploy.LifecycleAuto} {
		n := newNode()
		f := deployed("Slow", lifecycle, 1)
		q, catalog := follow(t, n, f)
		begun, release := make(chan struct{}, 100), make(chan struct{})
		var once sync.Once
		t.Cleanup(func() { once.Do(func() { close(release) }) })
		task := run(t, "127.0.0.1:0", func(conn net.Conn) {
			begun <- struct{}{}
			<-release
			replies(0)(conn)
		})
		n.start(deploy.Task{Function: "Slow", Address: task.address()})
		ids := []string{publish(t, q, "Slow"), publish(t, q, "Slow"), publish(t, q, "Slow")}
		<-begun
		paused := *f
		paused.Paused = true
		catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{&paused}})
		within(t, "calls are refused", func() bool { return codeOf(callBy(t, q, "Slow", time.Second)) == queue.CodePaused })
		untilTasks(t, q, 1) // it is still there
		catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{f}})
		within(t, "calls wait again", func() bool { return codeOf(callBy(t, q, "Slow", 100*time.Millisecond)) != queue.CodePaused })
		catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{&paused}})
		within(t, "calls are refused again", func() bool { return codeOf(callBy(t, q, "Slow", time.Second)) == queue.CodePaused })
		once.Do(func() { close(release) })
		within(t, "the first one has ended, and the others wait", func() bool {
			b, err := q.Balance(t.Context())
			return err == nil && b.Succeeded == 1 && b.Waiting == 2
		})
		catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{f}})
		for _, id := range ids {
			endsAtFirst(t, q, id)
		}
		if task.most.Load() != 1 || len(begun) != 2 {
			t.Errorf("%s: %d connections at a time, %d after the first", lifecycle, task.most.Load(), len(begun))
		}
	}
}

func codeOf(err error) string {
	if called, ok := err.(*queue.CallError); ok { //nolint:errorlint // the queue returns it as it is
		return called.Code
	}
	return ""
}
