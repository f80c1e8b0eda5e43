package ingress

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// amazon has a certificate that this process trusts: of its server and of its signatures.
var amazon struct {
	key *rsa.PrivateKey
	der []byte
}

// trustAmazon has to run before anything else asks for the roots of the system.
func trustAmazon(dir string) error {
	var err error
	if amazon.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Amazon of the tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"echo-api.amazon.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if amazon.der, err = x509.CreateCertificate(rand.Reader, template, template, amazon.key.Public(), amazon.key); err != nil {
		return err
	}
	file := filepath.Join(dir, "roots.pem")
	return errors.Join(os.WriteFile(file, certificatePEM(), 0o600), os.Setenv("SSL_CERT_FILE", file))
}

func certificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: amazon.der})
}

// serveTLS starts a server that the real fetch trusts.
func serveTLS(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{amazon.der}, PrivateKey: amazon.key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// instead makes the gateway fetch from this server what Amazon's would have.
func instead(s *httptest.Server, hosts ...string) func(*Options) {
	return func(o *Options) {
		o.Fetch = func(ctx context.Context, address string) ([]byte, error) {
			u, err := url.Parse(address)
			if err != nil {
				return nil, err
			}
			if slices.Contains(hosts, u.Host) {
				return fetch(ctx, s.URL+u.RequestURI())
			}
			return nil, errors.New("this is no server of Amazon's")
		}
	}
}

func signedByAmazon(t *testing.T, text string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, amazon.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

func TestFetch_TakesWhatA200Brings(t *testing.T) {
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write([]byte(strings.Repeat("x", maxFetched)))
		case "/large":
			_, _ = w.Write([]byte(strings.Repeat("x", maxFetched+1)))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/redirect":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/short":
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("x"))
		default:
			http.NotFound(w, r)
		}
	})
	if data, err := fetch(t.Context(), s.URL+"/good"); err != nil || len(data) != maxFetched {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	stranger.Config.ErrorLog = nil
	for address, want := range map[string]string{
		s.URL + "/large": "more than 131072 bytes", s.URL + "/endless": "more than 131072 bytes", s.URL + "/redirect": "status 302",
		s.URL + "/none": "status 404", s.URL + "/short": "unexpected EOF", strings.Replace(s.URL, "https", "http", 1) + "/good": "not https",
		"file:///etc/passwd": "not https", "https://%zz/secret-path": "invalid", stranger.URL + "/secret-path": "x509",
		"https://127.0.0.1:1/secret-path": "refused",
	} {
		data, err := fetch(t.Context(), address)
		if err == nil || data != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%s: got %d bytes, %v; want %q", address, len(data), err, want)
		}
	}
}

func TestFetch_DoesNotWaitForASlowServer(t *testing.T) {
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	begun := time.Now()
	if _, err := fetch(t.Context(), s.URL); err == nil || time.Since(begun) > fetchTimeout+2*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun = time.Now()
	if _, err := fetch(ctx, s.URL); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}
