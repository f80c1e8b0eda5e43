package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	fetchTimeout = 3 * time.Second
	maxFetched   = 128 << 10 // bytes; a chain of four certificates has 7 KB
)

// fetcher gets what a request of a sender names. A redirect could lead anywhere,
// so it is not followed. A proxy is the one that HTTPS_PROXY names, if any.
var fetcher = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: 16 << 10},
}

// fetch is a trigger.Fetch.
func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", cause(err))
	}
	if r.URL.Scheme != "https" {
		return nil, errors.New("fetch: the URL is not https")
	}
	res, err := fetcher.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", r.URL.Host, cause(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch from %s: status %d", r.URL.Host, res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxFetched+1))
	if err == nil {
		err = ctx.Err() // a server that notices it may end the body as if it were whole
	}
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", r.URL.Host, err)
	}
	if len(data) > maxFetched {
		return nil, fmt.Errorf("fetch from %s: more than %d bytes", r.URL.Host, maxFetched)
	}
	return data, nil
}

// cause leaves out the URL: its path is what a stranger wrote.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
