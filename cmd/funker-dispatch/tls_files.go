package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// filesCheck is how often the files of a certificate are read.
const filesCheck = 5 * time.Second

// certificateFiles are a certificate and its key in two files. What they hold counts, not their time or inode, so it does
// not matter how they are replaced: written over, renamed into place, or behind a symlink that points elsewhere.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger
	current   atomic.Pointer[tls.Certificate]

	trouble string // with what the files have now; "": none
	told    bool   // it is in the log
}

func openCertificateFiles(cert, key string, log *slog.Logger) (*certificateFiles, error) {
	c := &certificateFiles{cert: cert, key: key, log: log}
	pair, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current.Store(pair)
	return c, nil
}

func (c *certificateFiles) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	return &pair, nil
}

func (c *certificateFiles) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

func (c *certificateFiles) follow(ctx context.Context) error {
	every(ctx, filesCheck, c.check)
	return nil
}

// check takes over what the files have when it is good.
func (c *certificateFiles) check() {
	pair, err := c.load()
	if err == nil && !slices.EqualFunc(pair.Certificate, c.current.Load().Certificate, bytes.Equal) {
		if err = valid(pair.Leaf, time.Now()); err == nil {
			c.current.Store(pair)
			c.log.Info("certificate replaced", "name", nameOf(pair.Leaf), "expires", pair.Leaf.NotAfter)
		}
	}
	c.note(err)
}

func valid(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the new certificate has expired at %s", leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the new certificate is not valid before %s", leaf.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// note logs trouble that is still there at the next check, once: the two files are not replaced at the same instant.
func (c *certificateFiles) note(err error) {
	if err == nil {
		c.trouble, c.told = "", false
		return
	}
	if text := err.Error(); text != c.trouble {
		c.trouble, c.told = text, false
		return
	}
	if !c.told {
		c.log.Warn("the new certificate is not used, the old one stays", "error", err, "expires", c.current.Load().Leaf.NotAfter)
		c.told = true
	}
}

func (c *certificateFiles) expiries() []expiry {
	leaf := c.current.Load().Leaf
	return []expiry{{nameOf(leaf), leaf.NotBefore, leaf.NotAfter}}
}

func (c *certificateFiles) close() {}

// nameOf is the first name that a certificate is for.
func nameOf(leaf *x509.Certificate) string {
	switch {
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	}
	return cmp.Or(leaf.Subject.CommonName, "unnamed")
}
