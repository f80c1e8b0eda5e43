package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveAdminTLS is a gateway whose admin listener has a certificate.
func serveAdminTLS(t *testing.T, a *authority, first pair, args ...string) (g gatewayUnderTest, cert, key string) {
	t.Helper()
	dir, manifest := tlsFolder(t)
	cert, key = first.save(t, t.TempDir())
	g = serve(t, dir, manifest, append([]string{"--admin-tls-cert", cert, "--admin-tls-key", key}, args...)...)
	if !strings.HasPrefix(g.admin, "https://") {
		t.Fatalf("admin address: %s", g.admin)
	}
	return g, cert, key
}

func TestAdminTLS_ServesTheConsoleAndTheAPI(t *testing.T) {
	a := newAuthority(t)
	first := a.valid()
	g, cert, key := serveAdminTLS(t, a, first, "--no-worker")
	client := secureClient(t, a.pool)
	if res, body := get(t, client, g.admin+healthPath); res.ProtoMajor != 2 || body != `{"status":"ok"}`+"\n" {
		t.Errorf("got %s %s", res.Proto, body)
	}
	token := tokenIn(t, filepath.Join(g.data, tokenFile))
	res, err := client.PostForm(g.admin+"/login", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if cookie := res.Header.Get("Set-Cookie"); res.StatusCode != http.StatusSeeOther || !strings.Contains(cookie, "; Secure") || !strings.HasPrefix(cookie, "__Host-") {
		t.Errorf("login: got %s, cookie %q", res.Status, cookie)
	}
	if res, _ := get(t, secureClient(t, nil), "http"+strings.TrimPrefix(g.admin, "https")+"/login"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: got %s", res.Status)
	}
	far := g.far("stats", "--ca-file", a.file)
	if got := mustCLI(t, far...); !strings.Contains(got, "drift 0") {
		t.Errorf("stats: %s", got)
	}
	if code, _, stderr := cli(t, g.far("stats")...); code != exitFailed || !strings.Contains(stderr, "--ca-file") {
		t.Errorf("stats without --ca-file: %d %s", code, stderr)
	}

	second := a.valid()
	for file, text := range map[string]string{cert: second.cert, key: second.key} {
		write(t, filepath.Dir(file), "new", text)
		if err := os.Rename(filepath.Join(filepath.Dir(file), "new"), file); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "the new certificate is served", func() bool {
		got, err := servedAt(strings.TrimPrefix(g.admin, "https://"), a.pool)
		return err == nil && got.Equal(second.leaf)
	})
	if text := g.log.String(); !strings.Contains(text, `msg="certificate replaced" listener=admin`) || strings.Contains(text, token) {
		t.Errorf("log: %s", text)
	}
	mustCLI(t, far...)
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, g.log)
	}
}

func TestAdminTLS_StreamsGoThroughHTTP2AndEndWithTheGateway(t *testing.T) {
	a := newAuthority(t)
	g, _, _ := serveAdminTLS(t, a, a.valid(), "--no-worker")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.admin+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+tokenIn(t, filepath.Join(g.data, tokenFile)))
	res, err := secureClient(t, a.pool).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if res.ProtoMajor != 2 || !lines.Scan() || !strings.HasPrefix(lines.Text(), "data: ") {
		t.Errorf("got %s %s %q", res.Proto, res.Status, lines.Text())
	}
	stopped := make(chan int, 1)
	go func() { stopped <- g.stop() }()
	for lines.Scan() { // until the gateway ends it
	}
	if code := <-stopped; code != exitOK || strings.Contains(g.log.String(), "cut off") {
		t.Errorf("exit code %d: %s", code, g.log)
	}
}

func TestAdminTLS_MayLeaveLoopback(t *testing.T) {
	a := newAuthority(t)
	dir, manifest := tlsFolder(t)
	cert, key := a.valid().save(t, t.TempDir())
	args := []string{"serve", "--no-worker", "--manifest", manifest, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "--admin-tls-cert"},
		{[]string{"--admin-tls-cert", cert}, exitUsage, "go together"},
		{[]string{"--admin-tls-cert", cert, "--admin-tls-key", key, "--admin-insecure"}, exitUsage, "leave it out"},
		{[]string{"--admin-tls-cert", cert, "--admin-tls-key", cert}, exitFailed, "--admin-tls-cert, --admin-tls-key: "},
	} {
		if code, _, stderr := cli(t, append(args, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "PRIVATE KEY") {
			t.Errorf("%v: got %d %s", c.args, code, stderr)
		}
	}
	t.Setenv("FUNKER_ADMIN_TLS_CERT", cert)
	t.Setenv("FUNKER_ADMIN_TLS_KEY", key)
	m, log, stop := background(t, `msg=ready .*admin=https://\[::\]:(\d+)|msg=ready .*admin=https://0.0.0.0:(\d+)`, args...)
	if strings.Contains(log.String(), "INSECURE: the admin") {
		t.Errorf("log: %s", log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: a.pool, ServerName: hooks}}).DialContext(ctx, "tcp", "127.0.0.1:"+m[1]+m[2])
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestHealthcheck_AsksAnAdminListenerWithTLS(t *testing.T) {
	a := newAuthority(t)
	g, _, _ := serveAdminTLS(t, a, a.valid(), "--no-worker")
	within(t, "it is healthy", func() bool { // the check has a time limit of its own
		var out buffer
		return checkHealth(t.Context(), ownClient, g.admin+healthPath, &out) == nil && strings.Contains(out.String(), "ok")
	})
	if code, _, stderr := cli(t, "healthcheck", g.admin+healthPath); code != exitFailed || !strings.Contains(stderr, "certificate") {
		t.Errorf("for an address that was named, the certificate counts: got %d %s", code, stderr)
	}
}

func TestAdmin_LimitsAreWhatTheOperatorsPageSays(t *testing.T) {
	row := fmt.Sprintf("| time for a handshake, and for the headers | %.0f s |", adminHeaderTime.Seconds())
	if !strings.Contains(documents(t)["docs/operations.md"], row) {
		t.Errorf("the page does not say %q", row)
	}
}

func TestAdminHost_NamesTheConsoleBehindAProxy(t *testing.T) {
	dir, manifest := tlsFolder(t)
	t.Setenv("FUNKER_ADMIN_HOST", "a.example.org,console.example.org")
	g := serve(t, dir, manifest, "--no-worker")
	for host, want := range map[string]int{"console.example.org": http.StatusOK, "other.example.org": http.StatusMisdirectedRequest} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.admin+"/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != want {
			t.Errorf("%s: got %s", host, res.Status)
		}
	}
}
