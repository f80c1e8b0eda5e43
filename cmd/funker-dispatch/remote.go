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

	"github.com/funker-dispatch/funker-dispatch/console"
)

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
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", hintTLS(err))
	}
	if resp.StatusCode >= 300 {
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
	if to := resp.Header.Get("Location"); to != "" {
		return fmt.Errorf("%s leads elsewhere, and the token is not sent there: if %s is the gateway, name it with --url", resp.Request.URL.Host, to)
	}
	p := &console.Problem{}
	if resp.Header.Get("Content-Type") != console.ProblemType || json.Unmarshal(text, p) != nil {
		return fmt.Errorf("%s answered %s, which is no answer of a gateway", resp.Request.URL.Host, resp.Status)
	}
	if p.Code == "unauthorized" {
		p.Detail = "the gateway does not know this token: take the one that funker-dispatch token prints on its machine"
	}
	p.Detail, _, _ = strings.Cut(p.Detail, ": see GET /") // which helps programs only
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
