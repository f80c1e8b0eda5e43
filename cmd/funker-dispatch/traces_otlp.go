package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlpClient is an otlptrace.Client: it sends spans as OTLP/HTTP says, in protobuf.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
//
// OpenTelemetry's own client for HTTP brings all of gRPC along, for a stub that it does not use: 66 packages and 1.9 MB, with
// which the image exceeds its 40 MB.
type otlpClient struct {
	config *traceConfig
	http   *http.Client
}

const (
	otlpFirstPause  = time.Second     // before a request is tried again, at first
	otlpLastPause   = 5 * time.Second // and later; or as long as the collector says
	otlpAnswerLimit = 4 << 10         // bytes of an answer that are read
)

func newOTLPClient(c *traceConfig) *otlpClient {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.tls, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: 90 * time.Second}
	return &otlpClient{config: c, http: &http.Client{
		Transport: transport, Timeout: c.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for this collector
	}}
}

// Start implements otlptrace.Client.
func (c *otlpClient) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *otlpClient) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It tries again what the specification allows, until ctx ends.
func (c *otlpClient) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// TracesData is ExportTraceServiceRequest on the wire: its description says so. That one is in a package with gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	if c.config.gzip {
		if body, err = gzipped(body); err != nil {
			return err
		}
	}
	for pause := otlpFirstPause; ; pause = min(2*pause, otlpLastPause) {
		err := c.post(ctx, body)
		var again *retryError
		if !errors.As(err, &again) {
			return err
		}
		t := time.NewTimer(max(pause, again.after))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// retryError is one after which the same spans may be sent again.
type retryError struct {
	error
	after time.Duration // which the collector asks to wait
}

func (e *retryError) Unwrap() error { return e.error }

func (c *otlpClient) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "funker-dispatch/"+version)
	for name, value := range c.config.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	if c.config.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return &retryError{error: fmt.Errorf("collector not reached: %w", err)}
	}
	defer resp.Body.Close()
	// It is read for the connection to be used again. What it may say of single spans is the collector's own affair.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, otlpAnswerLimit)); err != nil {
		return &retryError{error: fmt.Errorf("answer of the collector: %w", err)}
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date is rare, and counts as nothing
		return &retryError{fmt.Errorf("the collector answered %s", resp.Status), time.Duration(seconds) * time.Second}
	}
	return fmt.Errorf("the collector answered %s", resp.Status)
}

func gzipped(body []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, fmt.Errorf("compress spans: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress spans: %w", err)
	}
	return b.Bytes(), nil
}
