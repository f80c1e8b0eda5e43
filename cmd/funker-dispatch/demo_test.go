package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
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

func TestDemo_KeptSaysHowToSignIn(t *testing.T) {
	var out buffer
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"demo", "--keep"}, &out, io.Discard) }()
	how := regexp.MustCompile(`open (http\S+)/ in a browser, and sign in with the token (\S+)`)
	within(t, "the demo says so", func() bool { return how.MatchString(out.String()) })
	m := how.FindStringSubmatch(out.String())
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{Jar: jar}
	res, err := browser.PostForm(m[1]+"/login", url.Values{"token": {m[2]}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(page), "Nothing is lost") {
		t.Errorf("got %d %v %s", res.StatusCode, err, page)
	}
	// A live view is open when the gateway stops.
	live, err := browser.Get(m[1] + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Body.Close()
	stop()
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := io.Copy(io.Discard, live.Body); err != nil {
		t.Errorf("the live view does not end well: %v", err)
	}
}

func TestGateway_ACallThatComesBeforeTheWorkerIsAnswered(t *testing.T) {
	for range 5 {
		d := &demo{out: io.Discard, dir: t.TempDir(), stopFunction: map[string]func() error{}}
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
