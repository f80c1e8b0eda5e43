package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// openFiles opens certificate files, with a log that can be read.
func openFiles(t *testing.T, cert, key string) (*certificateFiles, *buffer) {
	t.Helper()
	log := &buffer{}
	c, err := openCertificateFiles(cert, key, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

func (c *certificateFiles) wants(t *testing.T, what string, p pair) {
	t.Helper()
	if got := c.current.Load().Leaf; !got.Equal(p.leaf) {
		t.Errorf("%s: the certificate is that until %s, want that until %s", what, got.NotAfter, p.leaf.NotAfter)
	}
}

func TestCertificateFiles_AreFollowedWhereSymlinksPoint(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	first, second := a.valid(), a.valid()
	for name, p := range map[string]pair{"1": first, "2": second} {
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		p.save(t, folder)
	}
	point := func(to string) { // as Kubernetes and others do: a link is renamed over the old one
		if err := os.Symlink(to, filepath.Join(dir, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	point("1")
	c, log := openFiles(t, filepath.Join(dir, "current", "tls.crt"), filepath.Join(dir, "current", "tls.key"))
	c.check()
	c.wants(t, "nothing has changed", first)
	if log.String() != "" {
		t.Errorf("log: %s", log)
	}
	point("2")
	c.check()
	c.wants(t, "after the swap", second)
	if !strings.Contains(log.String(), `level=INFO msg="certificate replaced" name=hooks.example.com`) {
		t.Errorf("log: %s", log)
	}
}

func TestCertificateFiles_ABadPairIsToldOnceAndTheOldOneStays(t *testing.T) {
	a, dir, now := newAuthority(t), t.TempDir(), time.Now()
	old := a.valid()
	cert, key := old.save(t, dir)
	c, log := openFiles(t, cert, key)
	other := a.valid()
	for want, bad := range map[string]pair{
		"private key does not match":   {cert: other.cert, key: old.key},
		"failed to find any PEM data":  {cert: other.cert, key: ""},
		"the new certificate has exp":  a.issue(now.Add(-2*day), now.Add(-day)),
		"certificate is not valid bef": a.issue(now.Add(day), now.Add(2*day)),
	} {
		bad.save(t, dir)
		before := log.String()
		c.check()
		if log.String() != before {
			t.Errorf("%s: told at the first check, when the files may be half replaced: %s", want, log)
		}
		c.check()
		c.check()
		if got := strings.TrimPrefix(log.String(), before); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, want) {
			t.Errorf("%s: log: %s", want, got)
		}
		c.wants(t, want, old)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	c.check()
	c.check()
	if !strings.Contains(log.String(), "no such file") || strings.Contains(log.String(), "PRIVATE KEY") {
		t.Errorf("log: %s", log)
	}
	other.save(t, dir)
	c.check()
	c.wants(t, "a good pair", other)
}

func TestCertificateFiles_AreReadAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dir := newAuthority(t), t.TempDir()
		cert, key := a.valid().save(t, dir)
		c, _ := openFiles(t, cert, key)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.follow(ctx) }()
		for range 3 {
			next := a.valid()
			next.save(t, dir)
			time.Sleep(filesCheck)
			synctest.Wait()
			c.wants(t, "an interval later", next)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
