package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/console"
)

// remote is the admin API of a gateway somewhere else.
type remote struct {
	base  *url.URL
	token string
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
	base, err := url.Parse(a.api)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery+base.Fragment != "" {
		return nil, usagef("--url %q: take the address of the admin listener, such as https://gateway.example.org:3001", a.api)
	}
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return nil, usagef("--url %q: the token would travel in the clear: take https, or a tunnel to an address of this machine", a.api)
	}
	if a.tokenFile == "" {
		return nil, usagef("--url needs --token-file: the file admin.token of the gateway's data folder")
	}
	token, err := readToken(a.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	return &remote{base, token}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// remoteLimit is how long one request to a gateway may take.
const remoteLimit = time.Minute

// open sends a request, with headers as names and values in turn. The error is a *console.Problem when the gateway refuses
// it. The caller closes the body.
func (r *remote) open(ctx context.Context, method, path string, parameters url.Values, body string, header ...string) (*http.Response, error) {
	target := *r.base
	target.RawPath = strings.TrimSuffix(target.EscapedPath(), "/") + path
	unescaped, err := url.PathUnescape(target.RawPath)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	target.Path, target.RawQuery = unescaped, parameters.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, refusalOf(resp)
	}
	return resp, nil
}

// refusalOf reads the error that a gateway answers, or whatever is in front of it.
func refusalOf(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of the gateway: %w", err)
	}
	p := &console.Problem{}
	if resp.Header.Get("Content-Type") != console.ProblemType || json.Unmarshal(text, p) != nil {
		return fmt.Errorf("%s answered %s, which is no answer of a gateway", resp.Request.URL.Host, resp.Status)
	}
	return p
}

// ask sends a request and decodes the answer into v, unless that is nil.
func (r *remote) ask(ctx context.Context, method, path string, parameters url.Values, body string, v any, header ...string) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteLimit)
	defer cancel()
	resp, err := r.open(ctx, method, path, parameters, body, header...)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of the gateway: %w", err)
	}
	return resp.Header, nil
}
