package trigger_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// authority is a root, and what it signed.
type authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root of the tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: received.AddDate(-5, 0, 0), NotAfter: received.AddDate(5, 0, 0),
	}
	a := &authority{key: key}
	a.root = a.certify(t, template, template, key.Public(), key)
	return a
}

func (a *authority) certify(t testing.TB, template, parent *x509.Certificate, public, private any) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, private)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// chain is a certificate of a key below a certificate in between, as PEM.
func (a *authority) chain(t testing.TB, key crypto.Signer, change func(leaf, between *x509.Certificate)) []byte {
	t.Helper()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "signer"}, DNSNames: []string{"echo-api.amazon.com"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: received.AddDate(0, -1, 0), NotAfter: received.AddDate(0, 1, 0),
	}
	between := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: received.AddDate(-1, 0, 0), NotAfter: received.AddDate(1, 0, 0),
	}
	if change != nil {
		change(leaf, between)
	}
	middle, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := a.certify(t, between, a.root, middle.Public(), a.key)
	return encode(a.certify(t, leaf, issuer, key.Public(), middle), issuer)
}

func encode(chain ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// aKey is one RSA key for all tests: they take long to make.
var aKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func signRSA(t testing.TB, key *rsa.PrivateKey, hash crypto.Hash, text []byte) string {
	t.Helper()
	sum := sha256.Sum256(text)
	digest := sum[:]
	if hash == crypto.SHA1 {
		short := sha1.Sum(text)
		digest = short[:]
	}
	signature, err := rsa.SignPKCS1v15(nil, key, hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// shelf is a server of certificates; it counts what it is asked for.
type shelf struct {
	mu    sync.Mutex
	files map[string][]byte
	asked []string
}

var errNoFile = errors.New("status 404")

func (s *shelf) fetch(_ context.Context, url string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, url)
	if data, ok := s.files[url]; ok {
		return data, nil
	}
	return nil, errNoFile
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *shelf) put(url string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[url] = data
}

func noFetch(context.Context, string) ([]byte, error) {
	return nil, errors.New("nothing may be fetched here")
}

// must is for constructors whose error is a fault of the test.
func must(t testing.TB) func(trigger.Verifier, error) trigger.Verifier {
	return func(verify trigger.Verifier, err error) trigger.Verifier {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return verify
	}
}

func takenAt(r trigger.Request, now time.Time) trigger.Request {
	r.Time = now
	return r
}
