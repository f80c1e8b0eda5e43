package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRanges_AreAddressesAndPrefixes(t *testing.T) {
	var r ranges
	for text, want := range map[string]string{
		"10.252.0.7/24, 192.0.2.1,2001:db8::/32": "10.252.0.0/24,192.0.2.1/32,2001:db8::/32", "::ffff:192.0.2.1": "192.0.2.1/32", "": "",
	} {
		if err := r.Set(text); err != nil || r.String() != want {
			t.Errorf("%q: got %s, %v", text, r.String(), err)
		}
	}
	for text, want := range map[string]string{
		"proxy": "is no range", "10.0.0.0/33": "is no range", "10.0.0.1,": "is no range", "fe80::1%eth0": "is no range",
		"0.0.0.0/0": "all addresses", "::/0": "all addresses", "::ffff:10.0.0.0/104": "range of IPv4",
	} {
		if err := r.Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestServe_BelievesTrustedProxiesOnly(t *testing.T) {
	const sender = "203.0.113.7"
	for _, c := range []struct{ flag, want string }{{"--trusted-proxies=127.0.0.0/8", " from " + sender + ","}, {"--trusted-proxies=10.0.0.0/8", " from 127.0.0.1:"}} {
		dir := t.TempDir()
		write(t, dir, "secret", hookSecret)
		g := serve(t, dir, write(t, dir, "functions.yaml", `functions: {Fetch: {addresses: ["127.0.0.1:9"]}}
triggers: [{github: acme, secret-file: secret, function: Fetch}]
`), "--no-worker", c.flag)
		if code, body, _ := post(t, g.public+"/github/acme", "{}", "X-Forwarded-For", "198.51.100.66, "+sender); code != 401 {
			t.Fatalf("got %d %s", code, body)
		}
		got := mustCLI(t, "triggers", "github-acme", "--nats-url", g.nats, "--key", filepath.Join(g.data, "admin.nk"))
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s", c.flag, got)
		}
		g.stop()
	}
	if code, _, stderr := cli(t, "serve", "--trusted-proxies", "0.0.0.0/0"); code != exitUsage || !strings.Contains(stderr, "--trusted-proxies") {
		t.Errorf("all addresses: got %d %s", code, stderr)
	}
}
