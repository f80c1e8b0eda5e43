package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// traceConfig says where spans go. The variables are those of the specification:
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
type traceConfig struct {
	endpoint *url.URL
	headers  map[string]string
	timeout  time.Duration // of one request
	gzip     bool
	tls      *tls.Config // nil: the usual one
}

const (
	otlpTimeout = 10 * time.Second // the specification's default
	otlpPath    = "/v1/traces"
)

// readTraceConfig returns nil when nothing is to be traced.
func readTraceConfig(env func(string) string) (*traceConfig, error) {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	if name := env("OTEL_TRACES_EXPORTER"); name == "none" {
		return nil, nil
	} else if name != "" && name != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: take otlp or none", name)
	}
	endpoint, err := otlpEndpoint(env)
	if endpoint == nil || err != nil {
		return nil, err
	}
	c := &traceConfig{endpoint: endpoint, timeout: otlpTimeout}
	for _, read := range []func(func(string) string) error{c.readProtocol, c.readHeaders, c.readTimeout, c.readCompression, c.readTLS} {
		if err := read(env); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// otlpEndpoint returns nil when there is none.
func otlpEndpoint(env func(string) string) (*url.URL, error) {
	name, path := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""
	if env(name) == "" {
		name, path = "OTEL_EXPORTER_OTLP_ENDPOINT", otlpPath
	}
	text := env(name)
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%s is no URL of a collector: take one such as http://127.0.0.1:4318", name)
	}
	u.Path = cmp.Or(strings.TrimSuffix(u.Path, "/")+path, "/")
	return u, nil
}

// shown is the endpoint without what may be secret.
func (c *traceConfig) shown() string {
	return c.endpoint.Scheme + "://" + c.endpoint.Host + c.endpoint.Path
}

// otlpEnv prefers the variable that is for traces alone. It also returns the name of the one that is set.
func otlpEnv(env func(string) string, name string) (value, from string) {
	for _, from := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + name, "OTEL_EXPORTER_OTLP_" + name} {
		if v := env(from); v != "" {
			return v, from
		}
	}
	return "", ""
}

func (c *traceConfig) readProtocol(env func(string) string) error {
	if v, from := otlpEnv(env, "PROTOCOL"); v != "" && v != "http/protobuf" {
		return fmt.Errorf("%s is %q: take http/protobuf, which collectors have on port 4318", from, v)
	}
	return nil
}

// readHeaders reads key=value,key=value, with values that are percent-encoded. An error shows no value.
func (c *traceConfig) readHeaders(env func(string) string) error {
	text, from := otlpEnv(env, "HEADERS")
	c.headers = map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t\r\n:") || err != nil || strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("%s is no list of headers: write name=value,name=value with percent-encoded values", from)
		}
		c.headers[name] = value
	}
	return nil
}

func (c *traceConfig) readTimeout(env func(string) string) error {
	text, from := otlpEnv(env, "TIMEOUT")
	if text == "" {
		return nil
	}
	ms, err := strconv.Atoi(text)
	if err != nil || ms <= 0 {
		return fmt.Errorf("%s is %q: take a number of milliseconds, such as 10000", from, text)
	}
	c.timeout = time.Duration(ms) * time.Millisecond
	return nil
}

func (c *traceConfig) readCompression(env func(string) string) error {
	text, from := otlpEnv(env, "COMPRESSION")
	if c.gzip = text == "gzip"; !c.gzip && text != "" && text != "none" {
		return fmt.Errorf("%s is %q: take gzip or none", from, text)
	}
	return nil
}

func (c *traceConfig) readTLS(env func(string) string) error {
	ca, from := otlpEnv(env, "CERTIFICATE")
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !c.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: %s has no certificate in PEM", from, ca)
		}
	}
	cert, from := otlpEnv(env, "CLIENT_CERTIFICATE")
	if cert == "" {
		return nil
	}
	key, _ := otlpEnv(env, "CLIENT_KEY")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s, with its CLIENT_KEY: %w", from, err)
	}
	if c.tls == nil {
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c.tls.Certificates = []tls.Certificate{pair}
	return nil
}
