package queue

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/nats-io/nkeys"
)

// ClusterKey is the secret that the gateways of a cluster share. All else that they share follows from it (HKDF, RFC 5869):
// the authority whose certificates their servers show each other, and the keys of the command line and of the workers.
type ClusterKey []byte

// NewClusterKey makes one: a line of 64 hex digits.
func NewClusterKey() string {
	key := make([]byte, clusterKeySize)
	_, _ = rand.Read(key) // never fails
	return hex.EncodeToString(key)
}

const clusterKeySize = 32 // bytes

var errClusterKey = errors.New(`the key of a cluster is a line of 64 hex digits, which "funker-dispatch cluster key" makes`)

// ParseClusterKey reads what NewClusterKey made.
func ParseClusterKey(text string) (ClusterKey, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil { // it would quote a part of the key
		return nil, errClusterKey
	}
	return key, ClusterKey(key).check()
}

func (k ClusterKey) check() error {
	if len(k) != clusterKeySize {
		return errClusterKey
	}
	return nil
}

// Derive returns 32 bytes that nobody can tell without the key, for a purpose.
func (k ClusterKey) Derive(purpose string) ([]byte, error) {
	secret, err := hkdf.Key(sha256.New, k, nil, "funker-dispatch "+purpose, clusterKeySize)
	if err != nil {
		return nil, fmt.Errorf("derive %s from the key of the cluster: %w", purpose, err)
	}
	return secret, nil
}

// user returns the seed of an nkey.
func (k ClusterKey) user(purpose string) (string, error) {
	secret, err := k.Derive(purpose)
	if err != nil {
		return "", err
	}
	key, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, secret)
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	seed, err := key.Seed()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	return string(seed), nil
}

// gatewayName is whom the certificate of every gateway names.
const gatewayName = "gateway.funker-dispatch"

// tls is for both ends of the connections between servers: each shows a certificate that it has made for itself, and
// takes those that were made with the same key.
func (k ClusterKey) tls() (*tls.Config, error) {
	secret, err := k.Derive("authority")
	if err != nil {
		return nil, err
	}
	authority := ed25519.NewKeyFromSeed(secret)
	root := certificate("funker-dispatch cluster")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	ca, err := issue(root, root, authority.Public(), authority)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	own := certificate(gatewayName)
	own.DNSNames, own.KeyUsage = []string{gatewayName}, x509.KeyUsageDigitalSignature
	own.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf, err := issue(own, ca, public, authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: gatewayName, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: private, Leaf: leaf}},
	}, nil
}

// certificate is valid for good: who has the key makes a new one at any time, and who loses it changes the key. Clocks
// that are wrong keep no gateway out.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5
	}
}

func issue(template, parent *x509.Certificate, public any, authority ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, authority)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// writeKeys makes the key files that follow from the key of the cluster.
func (c *Cluster) writeKeys(dir string) error {
	for _, file := range []string{AdminKey, WorkerKey} {
		seed, err := c.Key.user(file)
		if err != nil {
			return err
		}
		if err := KeepFile(dir, file, seed+"\n"); err != nil {
			return fmt.Errorf("write key: %w", err)
		}
	}
	return nil
}
