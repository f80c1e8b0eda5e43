package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// acmeServer is Pebble, the ACME server that Let's Encrypt tests clients with, and its DNS server, which says that every
// name is 127.0.0.1.
type acmeServer struct {
	t         *testing.T
	directory string
	roots     string     // URL of the certificate that all are signed with, in PEM
	ca        *authority // of the directory itself
	stop      func()
}

// startACME starts a server that checks names at these ports in place of 443 and 80.
func startACME(t *testing.T, tlsPort, httpPort int) *acmeServer {
	t.Helper()
	return startACMEFor(t, 90*day, tlsPort, httpPort)
}

// startACMEFor is startACME with certificates that live for some time.
func startACMEFor(t *testing.T, life time.Duration, tlsPort, httpPort int) *acmeServer {
	t.Helper()
	pebble, resolver := need(t, "pebble"), need(t, "pebble-challtestsrv")
	s := &acmeServer{t: t, ca: newAuthority(t)}
	dir := t.TempDir()
	cert, key := s.ca.valid().save(t, dir)
	api, management, dns := fixedAddress(t), fixedAddress(t), fixedAddress(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": api, "managementListenAddress": management, "certificate": cert, "privateKey": key, "httpPort": httpPort, "tlsPort": tlsPort,
		"certificateValidityPeriod": int(life.Seconds()),
	}})
	if err != nil {
		t.Fatal(err)
	}
	stopDNS := startProgram(t, resolver, "-dns01", dns, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "")
	stopACME := startProgram(t, pebble, "-strict", "-config", write(t, dir, "pebble.json", string(config)), "-dnsserver", dns)
	s.stop = func() { stopACME(); stopDNS() }
	s.directory, s.roots = "https://"+api+"/dir", "https://"+management+"/roots/0"
	client := secureClient(t, s.ca.pool)
	within(t, "pebble answers", func() bool {
		res, err := client.Get(s.directory)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// startProgram runs somebody else's program until the test ends, or stop is called.
func startProgram(t *testing.T, path string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // it is killed
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", filepath.Base(path), tail(out.String(), 30))
		}
	})
	return stop
}

// acmeGateway is a gateway in a process of its own that gets a certificate for hooks.
type acmeGateway struct {
	*process
	public, data string
}

func newACMEGateway(t *testing.T, s *acmeServer, public string, args ...string) *acmeGateway {
	t.Helper()
	dir, manifest := tlsFolder(t)
	g := &acmeGateway{public: public, data: filepath.Join(dir, "data")}
	args = append([]string{"serve", "--no-worker", "--manifest", manifest, "--data", g.data, "--listen", public, "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--tls-domain", hooks, "--tls-email", "me@example.com", "--tls-acme-directory", s.directory, "--tls-acme-ca", s.ca.file}, args...)
	g.process = newProcess(t, "gateway", "msg=ready", args...)
	return g
}

// certificate waits for one, whoever has signed it.
func (g *acmeGateway) certificate() *x509.Certificate {
	g.t.Helper()
	var leaf *x509.Certificate
	within(g.t, "there is a certificate", func() bool {
		leaf = presented(g.public)
		return leaf != nil
	})
	if err := leaf.VerifyHostname(hooks); err != nil || !strings.HasPrefix(leaf.Issuer.CommonName, "Pebble Intermediate CA") {
		g.t.Errorf("issued by %s: %v", leaf.Issuer, err)
	}
	return leaf
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestServe_GetsACertificateByACMEAndKeepsIt(t *testing.T) {
	public := fixedAddress(t)
	s := startACME(t, portOf(t, public), 1)
	g := newACMEGateway(t, s, public)
	g.start()
	g.awaitReady()
	issued := g.certificate()
	if log := g.text(g.from); !strings.Contains(log, `msg="certificate issued" name=hooks.example.com renewal=false`) {
		t.Errorf("log: %s", log)
	}
	roots := x509.NewCertPool()
	roots.AddCert(issued) // as good as the root of Pebble, which it does not tell to strangers
	client := secureClient(t, roots)
	if res, body := get(t, client, "https://"+public+healthPath); res.ProtoMajor != 2 || body != `{"status":"ok"}` {
		t.Errorf("got %s %s", res.Proto, body)
	}
	client.CloseIdleConnections()
	g.terminate()
	isPrivate(t, filepath.Join(g.data, acmeFolder))

	s.stop() // nobody is there to issue another one
	g.start()
	g.awaitReady()
	if again := g.certificate(); !again.Equal(issued) {
		t.Errorf("after a restart there is another certificate: %s, was %s", again.SerialNumber, issued.SerialNumber)
	}
	if log := g.text(g.from); strings.Contains(log, "certificate issued") || strings.Contains(log, "level=ERROR") {
		t.Errorf("log after the restart: %s", log)
	}
	g.terminate()
}

// The port at which the authority looks for TLS is nobody's, so HTTP-01 alone can do it.
func TestServe_GetsACertificateByHTTP01(t *testing.T) {
	public, plain := fixedAddress(t), fixedAddress(t)
	s := startACME(t, 1, portOf(t, plain))
	g := newACMEGateway(t, s, public, "--http-listen", plain)
	g.start()
	g.awaitReady()
	g.certificate()
	if code, body, _ := post(t, "http://"+plain+"/github/acme", "{}"); code != 421 {
		t.Errorf("push without TLS: got %d %s", code, body)
	}
	g.terminate()
}

// isPrivate checks that nobody else can read what is in a folder.
func isPrivate(t *testing.T, folder string) {
	t.Helper()
	keys := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".key") {
			keys++
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return fmt.Errorf("%s has mode %o", path, mode)
		}
		return nil
	})
	if err != nil || keys != 2 { // of the account, of the certificate
		t.Errorf("%d keys, %v", keys, err)
	}
}
