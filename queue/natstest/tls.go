package natstest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TLS returns the part of a server's configuration that makes TLS necessary, and the file with the certificate to trust.
func TLS(t testing.TB) (config, ca string) {
	t.Helper()
	s := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1
	defer s.Close()
	pair := s.TLS.Certificates[0]
	ca = writePEM(t, "ca.pem", "CERTIFICATE", pair.Certificate[0])
	key := writePEM(t, "key.pem", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(pair.PrivateKey)))
	return fmt.Sprintf("tls {cert_file: %q, key_file: %q}\n", ca, key), ca
}

func writePEM(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
