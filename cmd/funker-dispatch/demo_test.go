package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestDemo_EndsByItselfAndSaysWhatItDid(t *testing.T) {
	out := mustCLI(t, "demo")
	for _, want := range []string{"Hello from your own swarm.", `"status":"queued"`, `"duplicate":true`, "and was tried again", "exhausted  2 ", "dead: exhausted", "ok in", "replay of FUNKER_EVENTS/2", "Funker-Error: no_task", "OUTCOME"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// keptDemo starts a demo to play with. It returns where its pages are and the token for them; stop returns the exit code.
func keptDemo(t *testing.T) (page, token string, stop func() int) {
	t.Helper()
	var out buffer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"demo", "--keep"}, &out, io.Discard) }()
	stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	how := regexp.MustCompile(`open (http\S+)/ in a browser, and sign in with the token (\S+)`)
	within(t, "the demo says so", func() bool { return how.MatchString(out.String()) })
	m := how.FindStringSubmatch(out.String())
	return m[1], m[2], stop
}

func TestDemo_KeptHasSomethingToMendAndTakesAnotherFunction(t *testing.T) {
	page, token, stop := keptDemo(t)
	t.Setenv("FUNKER_URL", page)
	t.Setenv("FUNKER_TOKEN", token)
	if out := mustCLI(t, "invoke", "HelloIntent", "-d", "{}"); !strings.Contains(out, "Hello from your own swarm.") {
		t.Errorf("HelloIntent is not back: %s", out)
	}
	if out := mustCLI(t, "dead", "list", "-o", "json"); !strings.Contains(out, "the database is locked") {
		t.Errorf("no dead letter waits: %s", out)
	}
	mustCLI(t, "dead", "replay", "--function", "CommitFetch")
	within(t, "it succeeds", func() bool {
		return strings.Count(mustCLI(t, "events", "list", "--kind", "event", "--outcome", "ok", "-o", "json"), `"id"`) == 3
	})

	address := fixedAddress(t)
	background(t, "function ready", "function", "echo", "--listen", address)
	name := filepath.Join(t.TempDir(), "functions.yaml")
	text := "functions:\n  Second: {addresses: [\"" + address + "\"]}\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	mustCLI(t, "apply", name)
	within(t, "the second function answers", func() bool {
		code, out, _ := cli(t, "invoke", "Second", "-d", `{"n":1}`)
		return code == exitOK && strings.TrimSpace(out) == `{"n":1}`
	})
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestDemo_KeptSaysHowToSignIn(t *testing.T) {
	page, token, stop := keptDemo(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{Jar: jar}
	res, err := browser.PostForm(page+"/login", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(text), "Nothing is lost") {
		t.Errorf("got %d %v %s", res.StatusCode, err, text)
	}
	// A live view is open when the gateway stops.
	live, err := browser.Get(page + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Body.Close()
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := io.Copy(io.Discard, live.Body); err != nil {
		t.Errorf("the live view does not end well: %v", err)
	}
}

func TestGateway_ACallThatComesBeforeTheWorkerIsAnswered(t *testing.T) {
	for range 5 {
		d := newDemo(io.Discard, t.TempDir())
		if err := d.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		answers := make(chan answer, 1)
		go func() {
			body := []byte("{}")
			a, err := request{d.gateway.public.url() + "/functions/HelloIntent", http.Header{}, body}.send(t.Context())
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.gateway.run(ctx) }()
		if a := <-answers; a.code != http.StatusOK {
			t.Errorf("got %s %s", a.status, a.body)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, end := range d.stopFunction {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	}
}
