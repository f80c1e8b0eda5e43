package funker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// languages are those of the classic libraries, by the names of their programs.
var languages = map[string]struct{ program, function, call string }{
	"Node":   {"node", "function.js", "call.js"},
	"Python": {"python3", "function.py", "call.py"},
}

// startFunction runs a script of testdata which prints the port that it listens on.
func startFunction(t *testing.T, program, script, lifecycle string) (addr string, process *exec.Cmd) {
	t.Helper()
	process = exec.CommandContext(t.Context(), need(t, program), filepath.Join("testdata", script), lifecycle)
	process.WaitDelay = 5 * time.Second
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Wait() }) // after t.Context, which kills it
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strings.TrimSpace(port)), process
}

func callWithin(t *testing.T, addr, request string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return new(funker.Client).Call(ctx, addr, []byte(request))
}

func TestCall_OneShotFunctionInAnotherLanguageAnswersOnce(t *testing.T) {
	t.Parallel()
	for name, language := range languages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, process := startFunction(t, language.program, language.function, "once")
			reply, err := callWithin(t, addr, `{"do":"greet","name":"Zoë"}`)
			wantGreeting(t, reply, err)
			if err := process.Wait(); err != nil {
				t.Errorf("got exit %v, want that it ends after its call", err)
			}
			_, err = callWithin(t, addr, `{"do":"greet","name":"Zoë"}`)
			wantError(t, err, funker.PhaseDial, funker.StartedNo)
		})
	}
}

func wantGreeting(t *testing.T, reply []byte, err error) {
	t.Helper()
	var got struct{ Hello string }
	if err = errors.Join(err, json.Unmarshal(reply, &got)); err != nil {
		t.Fatal(err)
	}
	if want := "Grüße, Zoë 😀"; got.Hello != want {
		t.Errorf("got %q, want %q", got.Hello, want)
	}
}

func TestCall_ServerFunctionInAnotherLanguageAnswersAll(t *testing.T) {
	t.Parallel()
	for name, language := range languages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := startFunction(t, language.program, language.function, "many")
			var callers sync.WaitGroup
			for range 20 {
				callers.Go(func() {
					reply, err := callWithin(t, addr, `{"do":"greet","name":"Zoë"}`)
					if err != nil {
						t.Error(err)
					} else if !json.Valid(reply) {
						t.Errorf("got %q", reply)
					}
				})
			}
			callers.Wait()
			checkServer(t, addr)
		})
	}
}

func checkServer(t *testing.T, addr string) {
	t.Helper()
	reply, err := callWithin(t, addr, `{"do":"nothing"}`)
	if got, want := string(reply), "null"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	var large string
	reply, err = callWithin(t, addr, `{"do":"large","size":1300000}`)
	if err = errors.Join(err, json.Unmarshal(reply, &large)); err != nil || large != strings.Repeat("ü", 1300000) {
		t.Errorf("got %d bytes, %v, want 1300000 times ü", len(large), err)
	}
	_, err = callWithin(t, addr, `{"do":"fail"}`)
	want := funker.Failure{Message: "no such city", RetryAfter: 1500 * time.Millisecond}
	if got := *wantFailure(t, err); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// The process dies of this, so that it comes last.
	_, err = callWithin(t, addr, `{"do":`)
	e, ok := errors.AsType[*funker.Error](err)
	if !ok || e.Phase != funker.PhaseRead || e.Started == funker.StartedNo {
		t.Errorf("got %v, want that the function died of the request", err)
	}
}

func TestHandle_CallerInAnotherLanguageGetsItsAnswer(t *testing.T) {
	t.Parallel()
	for name, language := range languages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, served := startHandle(t, add)
			if got, want := runCaller(t, language.program, language.call, addr, `{"x":1,"y":2}`), "3"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServe_CallerInAnotherLanguageGetsItsAnswers(t *testing.T) {
	t.Parallel()
	addr, _ := startServe(t, func(_ context.Context, in []string) (map[string]any, error) {
		switch in[0] {
		case "refuse":
			return nil, &funker.Failure{Message: "refused"}
		case "nothing":
			return nil, nil
		}
		return map[string]any{"ü": in, "large": strings.Repeat("x", 1<<20)}, nil
	}, funker.Options{})
	for name, language := range languages {
		t.Run(name, func(t *testing.T) {
			for request, want := range map[string]string{
				`["refuse"]`:  `{"funkerError":{"message":"refused","retry":false}}`,
				`["nothing"]`: `null`,
				`["a","Zoë"]`: `{"large":"` + strings.Repeat("x", 1<<20) + `","ü":["a","Zoë"]}`,
			} {
				got := runCaller(t, language.program, language.call, addr, request)
				if got = strings.NewReplacer(`\u00fc`, "ü", `\u00eb`, "ë").Replace(got); got != want {
					t.Errorf("%s: got %.80q, want %.80q", request, got, want)
				}
			}
		})
	}
}

func runCaller(t *testing.T, program, script, addr, request string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	process := exec.CommandContext(t.Context(), need(t, program), filepath.Join("testdata", script), port, request)
	process.Stderr = &stderr
	stdout, err := process.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return string(stdout)
}
