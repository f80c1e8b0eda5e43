package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string // its certificate, in PEM
}

const day = 24 * time.Hour

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key = newKey(t)
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-365 * day), NotAfter: time.Now().Add(365 * day),
	}, nil, a.key)
	a.pool.AddCert(a.cert)
	a.file = write(t, t.TempDir(), "ca.pem", inPEM("CERTIFICATE", a.cert.Raw))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// sign signs with the key of the authority; parent nil is by itself.
func (a *authority) sign(c, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = serial
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

// pair is a certificate and its key, in PEM.
type pair struct {
	cert, key string
	leaf      *x509.Certificate
}

const hooks = "hooks.example.com"

// issue makes a certificate for hooks and loopback.
func (a *authority) issue(from, until time.Time) pair {
	a.t.Helper()
	key := newKey(a.t)
	leaf := a.sign(&x509.Certificate{
		DNSNames: []string{hooks}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pair{inPEM("CERTIFICATE", leaf.Raw), inPEM("PRIVATE KEY", der), leaf}
}

func (a *authority) valid() pair {
	a.t.Helper()
	return a.issue(time.Now().Add(-time.Hour), time.Now().Add(90*day))
}

// save writes tls.crt and tls.key.
func (p pair) save(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	return write(t, dir, "tls.crt", p.cert), write(t, dir, "tls.key", p.key)
}

// secureClient is a client that trusts the authority, and asks for hooks at another address.
func secureClient(t *testing.T, roots *x509.CertPool) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: hooks}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// servedAt returns the certificate that an address serves to who trusts roots.
func servedAt(address string, roots *x509.CertPool) (*x509.Certificate, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, &tls.Config{RootCAs: roots, ServerName: hooks})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// presented is the certificate that an address serves for hooks, nil when it serves none. It is not verified.
func presented(address string) *x509.Certificate {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: hooks})
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

const tlsManifest = `functions: {Fetch: {addresses: ["127.0.0.1:9"]}}
triggers: [{github: acme, secret-file: secret, function: Fetch}]
`

// tlsFolder has a manifest with a trigger.
func tlsFolder(t *testing.T) (dir, manifest string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "secret", hookSecret)
	return dir, write(t, dir, "functions.yaml", tlsManifest)
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestServe_TLSWithCertificateFiles(t *testing.T) {
	a := newAuthority(t)
	dir, manifest := tlsFolder(t)
	first := a.valid()
	cert, key := first.save(t, t.TempDir())
	g := serve(t, dir, manifest, "--no-worker", "--tls-cert", cert, "--tls-key", key, "--http-listen", "127.0.0.1:0")
	address, https := strings.CutPrefix(g.public, "https://")
	if !https {
		t.Fatalf("public address: %s", g.public)
	}
	client := secureClient(t, a.pool)
	if res, body := get(t, client, g.public+healthPath); res.ProtoMajor != 2 || body != `{"status":"ok"}` {
		t.Errorf("got %s %s", res.Proto, body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.public+"/github/acme", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := client.Do(r); err != nil {
		t.Error(err)
	} else if res.Body.Close(); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("push without a signature: %s", res.Status)
	}

	second := a.valid() // as certbot and others do: written beside, renamed into place
	for file, text := range map[string]string{cert: second.cert, key: second.key} {
		write(t, filepath.Dir(file), "new", text)
		if err := os.Rename(filepath.Join(filepath.Dir(file), "new"), file); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "the new certificate is served", func() bool {
		got, err := servedAt(address, a.pool)
		return err == nil && got.Equal(second.leaf)
	})
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, g.log)
	}
}

func TestServe_TLSBefore12IsRefused(t *testing.T) {
	a := newAuthority(t)
	dir, manifest := tlsFolder(t)
	cert, key := a.valid().save(t, t.TempDir())
	g := serve(t, dir, manifest, "--no-worker", "--tls-cert", cert, "--tls-key", key)
	address := strings.TrimPrefix(g.public, "https://")
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: a.pool, ServerName: hooks, MinVersion: version, MaxVersion: version}}
		c, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		if (err == nil) != want || !want && !strings.Contains(err.Error(), "protocol version not supported") {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestServe_BesideTLSAPlainListenerRefusesEvents(t *testing.T) {
	a := newAuthority(t)
	dir, manifest := tlsFolder(t)
	cert, key := a.valid().save(t, t.TempDir())
	plain := fixedAddress(t)
	g := serve(t, dir, manifest, "--no-worker", "--tls-cert", cert, "--tls-key", key, "--http-listen", plain)
	if code, body, header := post(t, "http://"+plain+"/github/acme", "{}"); code != 421 || header.Get("Funker-Error") != "https_required" {
		t.Errorf("push: got %d %s", code, body)
	}
	if got := mustCLI(t, "triggers", "github-acme", "--nats-url", g.nats, "--data", g.data); !strings.Contains(got, "1 https_required") {
		t.Errorf("triggers: got %s", got)
	}
	if res, _ := get(t, secureClient(t, nil), "http://"+plain+"/x?y=1"); res.StatusCode != 308 || res.Header.Get("Location") != "https://127.0.0.1/x?y=1" {
		t.Errorf("a browser: got %s %v", res.Status, res.Header)
	}
}

func TestServe_RefusesTLSThatCannotBe(t *testing.T) {
	a := newAuthority(t)
	dir, manifest := tlsFolder(t)
	cert, key := a.valid().save(t, t.TempDir())
	_, other := a.valid().save(t, t.TempDir())
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--tls-cert " + cert, exitUsage, "--tls-cert and --tls-key go together"},
		{"--tls-cert " + cert + " --tls-key " + key + " --tls-domain " + hooks, exitUsage, "exclude each other"},
		{"--tls-email me@example.com", exitUsage, "go with --tls-domain"},
		{"--http-listen :0", exitUsage, "set --tls-cert or --tls-domain"},
		{"--tls-domain " + hooks + " --http-listen 80", exitUsage, "--http-listen"},
		{"--tls-domain *.example.com", exitUsage, "write the host name"},
		{"--tls-domain 192.0.2.1", exitUsage, "write the host name"},
		{"--tls-domain https://hooks.example.com", exitUsage, "write the host name"},
		{"--tls-domain " + hooks + " --tls-acme-directory http://ca.example.com", exitUsage, "begins with https://"},
		{"--tls-domain " + hooks + " --tls-acme-ca " + key, exitFailed, "has no certificate"},
		{"--tls-domain " + hooks + " --tls-acme-ca " + dir + "/none", exitFailed, "no such file"},
		{"--tls-cert " + cert + " --tls-key " + other, exitFailed, "private key does not match"},
		{"--tls-cert " + cert + " --tls-key " + cert, exitFailed, "--tls-cert, --tls-key"},
	} {
		args := []string{"serve", "--manifest", manifest, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}
		code, _, stderr := cli(t, append(args, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: got %d %s, want %d %q", c.args, code, stderr, c.code, c.want)
		}
		if strings.Contains(stderr, "PRIVATE KEY") {
			t.Errorf("%s: the error has the key", c.args)
		}
	}
}

func TestTLSOptions_NamesAreWrittenOneWay(t *testing.T) {
	o := tlsOptions{domains: []string{"Hooks.Example.com.", hooks, "b.example.com"}}
	if err := o.check(t.Context()); err != nil || strings.Join(o.domains, " ") != hooks+" b.example.com" {
		t.Errorf("got %v, %v", o.domains, err)
	}
}
