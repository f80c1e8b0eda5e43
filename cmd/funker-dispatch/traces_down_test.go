package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// deafListener takes connections and says nothing.
func deafListener(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		var all []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			all = append(all, conn)
		}
		for _, conn := range all {
			conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestTraces_ACollectorThatFailsLosesNoEventAndWarnsOnce(t *testing.T) {
	angry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(angry.Close)
	for name, endpoint := range map[string]string{
		"nobody there": "http://" + fixedAddress(t), "no answer": deafListener(t), "refuses": angry.URL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "50")
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
			t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "100")
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4") // so that spans are dropped
			t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
			dir := t.TempDir()
			function, _ := startFunction(t, "echo")
			g := serve(t, dir, write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Echo: {addresses: [%q]}}", function)), "--functions")
			const events = 50
			for range events {
				if status, answer, _ := post(t, g.public+"/functions/Echo", "1", "Prefer", "respond-async"); status != http.StatusAccepted {
					t.Fatalf("%d %s", status, answer)
				}
			}
			within(t, "all events have succeeded, and the log says that spans are missing", func() bool {
				stats := mustCLI(t, "stats", "--nats-url", g.nats, "--data", g.data)
				return strings.Contains(stats, fmt.Sprintf("%d succeeded", events)) && strings.Contains(g.log.String(), "traces are incomplete")
			})
			if code := g.stop(); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			if n := strings.Count(g.log.String(), "traces are incomplete"); n != 1 {
				t.Errorf("%d warnings:\n%s", n, g.log)
			}
		})
	}
}

func TestTraces_StoppingSendsTheLastSpans(t *testing.T) {
	c := newCollector(t)
	j := newJournal(t)
	s := newSwarm(t, fmt.Sprintf("functions: {Work: {addresses: [%q]}}", j.task(t)))
	for _, p := range s.processes() {
		p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=3600000"} // so that nothing is sent by itself
	}
	s.start()
	id := s.async(t, work{ID: "a", Plan: planOK})
	within(t, "the event has succeeded", func() bool {
		records, err := s.states()
		return err == nil && records[id] == queue.StateOK
	})
	s.workers[0].terminate()
	if len(c.all("process ")) != 1 {
		t.Errorf("the worker sent %+v", c.all(""))
	}
	s.gateway.terminate()
	if len(c.all("publish ")) != 1 || len(c.all("POST ")) != 1 {
		t.Errorf("the gateway sent %+v", c.all(""))
	}
}
