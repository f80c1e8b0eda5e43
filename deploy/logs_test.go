package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// logEngine answers as the engine of a manager does that has one service, "Hello" with the id s1, and its logs.
func logEngine(t *testing.T, logs http.HandlerFunc) *Engine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", MinAPI) })
	mux.HandleFunc("GET /{version}/services/{id}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("id") {
		case "Hello", "s1":
			_ = json.NewEncoder(w).Encode(map[string]any{"ID": "s1", "Spec": map[string]any{"Name": "Hello"}}) // the client may have gone
		case "Worker":
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"message":"This node is not a swarm manager."}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"service not found"}`)
		}
	})
	mux.HandleFunc("GET /{version}/services/s1/logs", logs)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	e, err := OpenEngine("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func stampOf(second int) string { return fmt.Sprintf("2026-11-30T03:00:%02d.000000001Z ", second) }

func TestLogs_AreTheLastLinesOfAllTasksInTheirOrder(t *testing.T) {
	asked := ""
	e := logEngine(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		fmt.Fprint(w, frameOf(1, stampOf(2)+"second\n")+frameOf(2, stampOf(1)+"first \x1b[31mred\x1b[0m\a\n")+frameOf(1, stampOf(3)+"third \x1b]0;title\atab\there\u202e\xff\r\n"))
	})
	got, err := e.Logs(t.Context(), "Hello")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, l := range got {
		texts = append(texts, fmt.Sprintf("%v %s", l.Error, l.Text))
	}
	if want := "true first red|false second|false third tab\there\uFFFD"; strings.Join(texts, "|") != want {
		t.Errorf("got %q, want %q", texts, want)
	}
	if got[0].Time.Second() != 1 {
		t.Errorf("got %v", got[0].Time)
	}
	if !strings.Contains(asked, "tail=100") || strings.Contains(asked, "follow") {
		t.Errorf("asked for %s", asked)
	}
}

func TestLogs_AreBounded(t *testing.T) {
	for name, size := range map[string]int{"lines": 1, "bytes": 2000, "read": 100_000} {
		e := logEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 1000 {
				if _, err := fmt.Fprint(w, frameOf(1, stampOf(i%60)+strings.Repeat("x", size)+"\n")); err != nil {
					return
				}
			}
		})
		got, _ := e.Logs(t.Context(), "Hello") // what is cut off in the middle is an error
		sum := 0
		for _, l := range got {
			sum += len(l.Text)
		}
		if len(got) > LogLines || sum > LogBytes || name != "read" && len(got) < 30 {
			t.Errorf("%s: got %d lines of %d bytes", name, len(got), sum)
		}
	}
}

func TestLogs_SaysWhyThereAreNone(t *testing.T) {
	e := logEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden) // as HAProxy does
		fmt.Fprint(w, "<html><body><h1>403 Forbidden</h1></body></html>")
	})
	for function, want := range map[string]error{"Hello": ErrLogsDenied, "s1": ErrNoService, "Nobody": ErrNoService, "Worker": ErrNotManager} {
		if got, err := e.Logs(t.Context(), function); !errors.Is(err, want) || got != nil {
			t.Errorf("%s: got %v, %v, want %v", function, got, err, want)
		}
	}
	nobody, err := OpenEngine("unix://" + filepath.Join(t.TempDir(), "none.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	if _, err := nobody.Logs(t.Context(), "Hello"); !errors.Is(err, ErrNoEngine) {
		t.Errorf("got %v, want %v", err, ErrNoEngine)
	}
}

// An engine that ends in the middle has sent something before.
func TestLogs_KeepsWhatCameBeforeTheEnd(t *testing.T) {
	e := logEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, frameOf(1, stampOf(1)+"here\n"))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	got, err := e.Logs(t.Context(), "Hello")
	if err == nil || len(got) != 1 || got[0].Text != "here" {
		t.Errorf("got %v, %v", got, err)
	}
}
