package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// remoteFlags say where the admin API of a gateway is, and who asks.
type remoteFlags struct{ api, token, tokenFile, caFile string }

func (f *remoteFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.api, "url", "", "address of the admin listener of a gateway elsewhere, such as https://gateway.example.org:3001, in place of NATS")
	flags.StringVar(&f.tokenFile, "token-file", "", "with --url: file with the token of the admin listener")
	flags.StringVar(&f.token, "token", "", "with --url: the token itself; other users of this machine can see it, so that FUNKER_TOKEN or --token-file are better")
	flags.StringVar(&f.caFile, "ca-file", "", "with --url: file with the certificates, in PEM, that the gateway's own is checked with (default those of the system)")
}

// remote is the admin API of a gateway somewhere else.
type remote struct {
	base   *url.URL
	token  string
	client *http.Client
}

// remote returns nil when no --url says where the gateway is.
func (a *adminFlags) remote(cmd *cobra.Command) (*remote, error) {
	if a.api == "" {
		return nil, nil
	}
	for _, name := range []string{"nats-url", "key"} {
		if cmd.Flags().Changed(name) {
			return nil, usagef("--url and --%s are two ways to the gateway: leave one out", name)
		}
	}
	return a.open()
}

func (f *remoteFlags) open() (*remote, error) {
	base, err := url.Parse(f.api)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery+base.Fragment != "" || base.User != nil {
		return nil, usagef("--url %q: take the address of the admin listener, such as https://gateway.example.org:3001", f.api)
	}
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return nil, usagef("--url %q: the token would travel in the clear: take https, or a tunnel to an address of this machine", f.api)
	}
	token, err := f.readToken()
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(f.caFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	return &remote{base, token, clientTrusting(roots)}, nil
}

func (f *remoteFlags) readToken() (string, error) {
	switch {
	case f.token != "" && f.tokenFile != "":
		return "", usagef("--token and --token-file, or FUNKER_TOKEN and FUNKER_TOKEN_FILE, exclude each other: leave one out")
	case f.token != "":
		return strings.TrimSpace(f.token), nil
	case f.tokenFile == "":
		return "", usagef("--url needs --token-file: the file admin.token of the gateway's data folder, or a copy of it")
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return token, nil
}

// clientTrusting follows no redirects: the next address could be one without TLS, or somebody else's. It trusts the
// system when roots is nil.
func clientTrusting(roots *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() // which it always is
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// hintTLS says what to do about a certificate that nobody here trusts.
func hintTLS(err error) error {
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		return fmt.Errorf("%w (name the certificates to trust with --ca-file)", err)
	}
	return err
}
