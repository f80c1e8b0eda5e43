package deploy

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// credentials are the keys of kinds whose senders sign nothing.
func (r *triggerReader) credentials() fields {
	t := r.t
	return fields{
		"auth": func(n ast.Node) {
			t.Auth = r.oneOf(n, "auth", trigger.AuthBearer, trigger.AuthBasic, trigger.AuthAPIKey)
		},
		"user":   func(n ast.Node) { t.User = r.user(n) },
		"header": func(n ast.Node) { t.Header = r.header(n, "header") },
	}
}

func (r *triggerReader) user(n ast.Node) string {
	s, ok := r.text(n, "user")
	if ok && (strings.Contains(s, ":") || strings.ContainsFunc(s, unicode.IsControl)) {
		r.fault(at(n), "user %q has a colon or control characters: basic authentication allows neither", shorten(s))
	}
	return s
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$`)

// header reads the name of a header.
func (r *triggerReader) header(n ast.Node, key string) string {
	s, ok := r.text(n, key)
	if ok && !headerName.MatchString(s) {
		r.fault(at(n), "%s %q is not the name of a header: write for example X-Api-Key", key, shorten(s))
	}
	return s
}

// oneOf reads one of some words.
func (r *triggerReader) oneOf(n ast.Node, key string, words ...string) string {
	s, ok := r.text(n, key)
	if ok && !slices.Contains(words, s) {
		r.fault(at(n), "%s %q is unknown: %s", key, shorten(s), suggest(s, words))
	}
	return s
}

// maxSecrets of a trigger is two for a change of keys, and some to spare.
const maxSecrets = 8

// secrets reads one file or a list of them.
func (r *triggerReader) secrets(n ast.Node, key string) []trigger.Secret {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return r.secret(n, key, nil)
	}
	if count := len(list.Values); count == 0 || count > maxSecrets {
		r.fault(at(n), "%s names %d files: name 1 to %d", key, count, maxSecrets)
		return nil
	}
	var secrets []trigger.Secret
	for _, item := range list.Values {
		secrets = r.secret(item, key, secrets)
	}
	return secrets
}

// secret appends the secret of a file.
func (r *triggerReader) secret(n ast.Node, key string, secrets []trigger.Secret) []trigger.Secret {
	file, ok := r.text(n, key)
	if !ok {
		return secrets
	}
	switch {
	case filepath.IsAbs(file):
	case r.options.applied:
		r.fault(at(n), "%s %q is relative: the gateway reads it, so write the whole path that it has there, such as /run/secrets/github", key, file)
		return secrets
	default:
		file = filepath.Join(r.dir, file)
	}
	r.t.SecretFiles = append(r.t.SecretFiles, SecretFile{key, file})
	if !r.options.reads(r.t) {
		return secrets
	}
	secret, err := readSecret(file)
	if err != nil {
		r.fault(at(n), "%s %q %v", key, file, err)
		return secrets
	}
	if doubt := doubtful(secret); doubt != "" {
		r.warn(at(n), "%s %q %s", key, file, doubt)
	}
	return append(secrets, secret)
}
