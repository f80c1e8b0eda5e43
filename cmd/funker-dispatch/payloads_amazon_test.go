package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // what SNS signs with by default
	_ "crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// amazonNet is all of Amazon that a gateway fetches from, with keys of its own: only Amazon has those of the recorded
// requests. A gateway that has its environment fetches over HTTPS as ever, through a proxy that leads here, and trusts
// its root.
type amazonNet struct {
	t      *testing.T
	key    *rsa.PrivateKey // of what it signs for Alexa and SNS
	ca     certAuthority
	chains map[string][]byte // by path at s3.amazonaws.com; a path that is not here has the good one
	sns    []byte            // certificate of SNS
	env    []string

	mu      sync.Mutex
	fetched []string
}

// certAuthority signs certificates.
type certAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const goodChain = "/echo.api/good.pem"

func newAmazonNet(t *testing.T) *amazonNet {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	a := &amazonNet{t: t, key: key, chains: map[string][]byte{}}
	now := time.Now()
	root := a.newCA(nil, "root of the tests")
	a.ca = a.newCA(&root, "Amazon of the tests")
	alexa := &x509.Certificate{DNSNames: []string{"echo-api.amazon.com"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour)}
	a.chains[goodChain] = pemOf(a.issue(alexa, key.Public()), a.ca.cert.Raw)
	alexa.NotAfter = now.Add(-24 * time.Hour)
	a.chains["/echo.api/expired.pem"] = pemOf(a.issue(alexa, key.Public()), a.ca.cert.Raw)
	a.sns = pemOf(a.issue(&x509.Certificate{DNSNames: []string{"sns.amazonaws.com"}}, key.Public()))
	a.serve(write(t, t.TempDir(), "roots.pem", string(pemOf(root.cert.Raw))))
	return a
}

// newCA makes one that issuer has signed; nil: itself.
func (a *amazonNet) newCA(issuer *certAuthority, name string) certAuthority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-72 * time.Hour), NotAfter: time.Now().Add(72 * time.Hour),
	}
	if issuer == nil {
		issuer = &certAuthority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certAuthority{cert, key}
}

// issue returns a certificate in DER, valid now unless it says something else.
func (a *amazonNet) issue(template *x509.Certificate, key crypto.PublicKey) []byte {
	template.SerialNumber = big.NewInt(2)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca.cert, key, a.ca.key)
	if err != nil {
		a.t.Error(err)
	}
	return der
}

// pemOf is a file of them.
func pemOf(ders ...[]byte) (file []byte) {
	for _, der := range ders {
		file = append(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return file
}

func (a *amazonNet) serve(roots string) {
	hosts := httptest.NewUnstartedServer(http.HandlerFunc(a.answer))
	hosts.TLS = &tls.Config{GetCertificate: a.certificateOf}
	hosts.StartTLS()
	a.t.Cleanup(hosts.Close)
	var tunnels sync.WaitGroup
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			a.note(r.RequestURI)
			http.NotFound(w, r)
			return
		}
		a.tunnel(w, hosts.Listener.Addr().String(), &tunnels)
	}))
	a.t.Cleanup(func() { proxy.Close(); tunnels.Wait() })
	a.env = []string{"SSL_CERT_FILE=" + roots}
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		a.env = append(a.env, name+"="+proxy.URL, strings.ToLower(name)+"="+proxy.URL)
	}
	a.env = append(a.env, "NO_PROXY=", "no_proxy=")
}

// tunnel leads a connection to the hosts, whichever of them it is for.
func (a *amazonNet) tunnel(w http.ResponseWriter, hosts string, tunnels *sync.WaitGroup) {
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.t.Error(err)
		return
	}
	far, err := net.Dial("tcp", hosts)
	if err != nil {
		a.t.Error(err)
		near.Close()
		return
	}
	fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either end may go first
		to.Close()
	}
	tunnels.Go(func() { pass(far, near) })
	tunnels.Go(func() { pass(near, far) })
}

// certificateOf makes a host the one that it is asked for.
func (a *amazonNet) certificateOf(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	der := a.issue(&x509.Certificate{DNSNames: []string{hello.ServerName}}, a.key.Public())
	return &tls.Certificate{Certificate: [][]byte{der, a.ca.cert.Raw}, PrivateKey: a.key}, nil
}

func (a *amazonNet) answer(w http.ResponseWriter, r *http.Request) {
	a.note("https://" + r.Host + r.URL.RequestURI())
	chain, known := a.chains[r.URL.Path]
	switch {
	case known:
		_, _ = w.Write(chain)
	case strings.HasPrefix(r.Host, "sns.") && r.URL.Path == "/":
		_, _ = io.WriteString(w, "<ConfirmSubscriptionResponse/>")
	case strings.HasPrefix(r.Host, "sns."):
		_, _ = w.Write(a.sns)
	default:
		_, _ = w.Write(a.chains[goodChain])
	}
}

func (a *amazonNet) note(url string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fetched = append(a.fetched, url)
}

// wasAsked checks what was fetched since the last time.
func (a *amazonNet) wasAsked(t *testing.T, want []string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.fetched, want) {
		t.Errorf("the gateway has fetched %q, want %q", a.fetched, want)
	}
	a.fetched = nil
}

// sign returns the base64 of a signature (RSA, PKCS #1 v1.5).
func (a *amazonNet) sign(hash crypto.Hash, text string) string {
	h := hash.New()
	_, _ = io.WriteString(h, text)
	signature, err := rsa.SignPKCS1v15(nil, a.key, hash, h.Sum(nil))
	if err != nil {
		a.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// speaks returns the headers of a request of Alexa.
func (a *amazonNet) speaks(body string) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Accept", "application/json")
	h.Set("SignatureCertChainUrl", "https://s3.amazonaws.com"+goodChain)
	h.Set("Signature-256", a.sign(crypto.SHA256, body))
	h.Set("Signature", a.sign(crypto.SHA1, body))
	return h
}

// snsHash is what a version of signatures uses.
func snsHash(version string) crypto.Hash {
	if version == "1" {
		return crypto.SHA1
	}
	return crypto.SHA256
}

// signMessage signs a message of SNS.
func (a *amazonNet) signMessage(m map[string]string) {
	keys := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		keys = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var text strings.Builder
	for _, key := range keys {
		if value, ok := m[key]; ok {
			text.WriteString(key + "\n" + value + "\n")
		}
	}
	m["Signature"] = a.sign(snsHash(m["SignatureVersion"]), text.String())
}

// proof returns which of the texts the signature is of, and by which hash.
func proof(t *testing.T, certificate string, texts []string, signature string) (text string, hash crypto.Hash) {
	t.Helper()
	block, _ := pem.Decode([]byte(certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := cert.PublicKey.(*rsa.PublicKey)
	for _, text := range texts {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			h := hash.New()
			_, _ = io.WriteString(h, text)
			if rsa.VerifyPKCS1v15(key, hash, h.Sum(nil), raw) == nil {
				return text, hash
			}
		}
	}
	t.Fatal("a signature is of none of the texts")
	return "", 0
}
