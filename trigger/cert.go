package trigger

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	maxCerts     = 16 // certificates that are kept; Amazon uses one or two at a time
	maxChain     = 10 // certificates in one download; Amazon sends four
	maxDownloads = 16 // within downloadTime, so that hostile requests cannot make us fetch without end
	downloadTime = 5 * time.Second
)

// cert is a certificate that was found to be the sender's.
type cert struct {
	key         *rsa.PublicKey
	from, until time.Time // when it, and all that it rests on, is valid
	used        time.Time // when it last proved a request; zero: never
}

func (c *cert) validAt(now time.Time) bool { return !now.Before(c.from) && !now.After(c.until) }

// signed is a message and its signature (RSA, PKCS #1 v1.5), as it was sent.
type signed struct {
	hash      crypto.Hash
	sum       []byte // of the message
	signature string // base64
}

// certs gets and keeps the certificates that requests name.
//
// Anybody can name URLs, so anybody can make the gateway ask the sender's host
// for them. There are three bounds to that. A URL is asked for once in
// downloadTime whatever comes of it, by one request for all that need it. No more
// than maxDownloads different ones are asked for in that time. And what never
// proved a request goes first when there are more than maxCerts, so that strangers
// cannot push out the certificate in use.
type certs struct {
	fetch Fetch
	read  func(blocks []*x509.Certificate, now time.Time) (*cert, error)

	mu    sync.Mutex
	kept  map[string]*cert     // by URL
	tried map[string]*download // the same, of the last downloadTime
}

// download is one fetch of a certificate; cert and err are there when done is closed.
type download struct {
	begun time.Time
	done  chan struct{}
	cert  *cert
	err   error
}

func newCerts(fetch Fetch, read func([]*x509.Certificate, time.Time) (*cert, error)) *certs {
	return &certs{fetch: fetch, read: read, kept: map[string]*cert{}, tried: map[string]*download{}}
}

// check refuses what the certificate of a URL, see get, has not signed.
func (c *certs) check(ctx context.Context, url string, now time.Time, s signed) error {
	signature, err := base64.StdEncoding.Strict().DecodeString(s.signature)
	if err != nil {
		return refuse(ReasonForged, "the signature is not base64")
	}
	found, err := c.get(ctx, url, now)
	if err != nil {
		return err
	}
	if rsa.VerifyPKCS1v15(found.key, s.hash, s.sum, signature) != nil {
		return refuse(ReasonForged, "the signature does not fit the body")
	}
	c.proved(found, now)
	return nil
}

// get returns the certificate of a URL that the caller found to be the sender's
// own. It is valid at the time now.
func (c *certs) get(ctx context.Context, url string, now time.Time) (*cert, error) {
	kept, d, first, err := c.find(url, now)
	if kept != nil || err != nil {
		return kept, err
	}
	if first {
		// Others wait for it too, so it does not end with the first one's client.
		c.run(context.WithoutCancel(ctx), url, d)
	}
	select {
	case <-d.done:
		return d.cert, d.err
	case <-ctx.Done():
		return nil, unfetched(ctx.Err())
	}
}

// find returns the certificate, or a download to wait for; first says that the
// caller has to run it.
func (c *certs) find(url string, now time.Time) (kept *cert, d *download, first bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.kept[url]; k != nil && k.validAt(now) {
		return k, nil, false, nil
	}
	for u, t := range c.tried {
		if now.Sub(t.begun).Abs() > downloadTime {
			delete(c.tried, u)
		}
	}
	if d := c.tried[url]; d != nil {
		return nil, d, false, nil
	}
	if len(c.tried) == maxDownloads {
		return nil, nil, false, unfetched(errors.New("too many different certificates are asked for"))
	}
	d = &download{begun: now, done: make(chan struct{})}
	c.tried[url] = d
	return nil, d, true, nil
}

func (c *certs) run(ctx context.Context, url string, d *download) {
	defer close(d.done)
	d.err = unfetched(errors.New("the download did not end"))
	data, err := c.fetch(ctx, url)
	if err != nil {
		d.err = unfetched(err)
		return
	}
	blocks, err := parsePEM(data)
	if err != nil {
		d.err = unfetched(err)
		return
	}
	if d.cert, d.err = c.read(blocks, d.begun); d.err == nil {
		c.keep(url, d.cert)
	}
}

func (c *certs) keep(url string, k *cert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == maxCerts && c.kept[url] == nil {
		oldest := ""
		for u := range c.kept {
			if oldest == "" || c.kept[u].used.Before(c.kept[oldest].used) {
				oldest = u
			}
		}
		delete(c.kept, oldest)
	}
	c.kept[url] = k
}

// proved notes that a certificate has proved a request.
func (c *certs) proved(k *cert, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.used = now
}

// parsePEM returns the certificates of a file, at least one.
func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(all) == maxChain {
			return nil, fmt.Errorf("the download has something else than up to %d certificates", maxChain)
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		all = append(all, parsed)
	}
	if len(all) == 0 {
		return nil, errors.New("the download has no certificate")
	}
	return all, nil
}

// unfetched refuses a request of which nobody can say who sent it. The cause is
// for the log.
func unfetched(cause error) error {
	return fmt.Errorf("%w: %w", refuse(ReasonUnfetched, "the sender's certificate could not be fetched: try again"), cause)
}

// rsaKey is the key of a certificate. One of another kind is refused for the reason.
func rsaKey(leaf *x509.Certificate, reason Reason) (*rsa.PublicKey, error) {
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, refuse(reason, "the certificate has no RSA key, and this gateway knows no other")
	}
	return key, nil
}
