package main

import (
	"context"
	"io"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/console/browsertest"
)

// browse opens the console of a gateway, signed in with the token of a file.
func (g *gatewayUnderTest) browse(t *testing.T, file string, width, height int64, flags ...string) *browsertest.Screen {
	t.Helper()
	s := browsertest.Start(t, g.admin, width, height, flags...)
	s.SignIn(tokenIn(t, filepath.Join(g.data, file)))
	return s
}

func TestDemo_ANewUserSignsInWithWhatItPrints(t *testing.T) {
	browsertest.Chromium(t)
	var out buffer
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"demo", "--keep"}, &out, io.Discard) }()
	how := regexp.MustCompile(`open (http\S+)/ in a browser, and sign in with the token (\S+)`)
	within(t, "the demo says how", func() bool { return how.MatchString(out.String()) })
	m := how.FindStringSubmatch(out.String())
	s := browsertest.Start(t, m[1], browsertest.DesktopWidth, browsertest.DesktopHeight)
	s.SignIn(m[2])
	s.Says("Nothing is lost")
	s.Picture("demo")
	stop()
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestAdminTLS_ABrowserSignsInAndSeesTheOverviewLive(t *testing.T) {
	a := newAuthority(t)
	g, _, _ := serveAdminTLS(t, a, a.valid(), "--no-worker")
	s := g.browse(t, tokenFile, browsertest.DesktopWidth, browsertest.DesktopHeight, browsertest.AnyCertificate)
	s.Says("live")
	if code, body, _ := post(t, g.public+"/github/acme", "{}"); code != 401 {
		t.Fatalf("an unsigned push: got %d %s", code, body)
	}
	s.Says("Requests of github-acme were refused") // nobody reloads
	s.Picture("admin-tls")
	s.Forgive("net::ERR_CONNECTION_REFUSED") // the page looks for the gateway, which has gone
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, g.log)
	}
}
