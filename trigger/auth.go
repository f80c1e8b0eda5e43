package trigger

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Ways in which senders that sign nothing prove who they are, for Config.Auth.
// Each sends one of Config.Secrets.
const (
	AuthBearer = "bearer"  // Authorization: Bearer <secret> (RFC 6750)
	AuthBasic  = "basic"   // Authorization: Basic <base64 of user:secret> (RFC 7617)
	AuthAPIKey = "api-key" // <header>: <secret>
)

// auth checks the credentials of a request.
type auth struct {
	scheme  string
	user    string
	header  string
	secrets []Secret
}

// newAuth is for a sender that has no other proof than Config.Auth; usual is how
// its senders do it when nothing else is configured. It fails closed.
func newAuth(cfg Config, usual auth) (*auth, error) {
	if len(cfg.Secrets) == 0 && !cfg.Insecure {
		return nil, fmt.Errorf("%w: give it a secret that its sender sends along, or say insecure: true", ErrUnverified)
	}
	if _, err := checkAuth(cfg, usual); err != nil {
		return nil, err
	}
	return &auth{cmp.Or(cfg.Auth, usual.scheme), cfg.User, cmp.Or(cfg.Header, usual.header), cfg.Secrets}, nil
}

// checkAuth is Check for senders that do not sign.
func checkAuth(cfg Config, usual auth) (key string, err error) {
	if cfg.Insecure && len(cfg.Secrets) == 0 {
		return checkNoAuth(cfg)
	}
	scheme, header := cmp.Or(cfg.Auth, usual.scheme), cmp.Or(cfg.Header, usual.header)
	switch {
	case scheme != AuthBearer && scheme != AuthBasic && scheme != AuthAPIKey:
		return "auth", fmt.Errorf("unknown way to authenticate %q: use %s, %s or %s", scheme, AuthBearer, AuthBasic, AuthAPIKey)
	case scheme == AuthBasic && cfg.User == "":
		return "auth", errors.New("auth: basic needs user: the name that the sender sends with its password")
	case scheme == AuthAPIKey && header == "":
		return "auth", errors.New("auth: api-key needs header: the name of the header that has the key")
	case scheme != AuthBasic && cfg.User != "":
		return "user", errors.New("user is for auth: basic only: remove it, or add that")
	case scheme != AuthAPIKey && cfg.Header != "":
		return "header", errors.New("header is for auth: api-key only: remove it, or add that")
	}
	return "", nil
}

func checkNoAuth(cfg Config) (key string, err error) {
	for _, s := range []struct{ key, value string }{{"auth", cfg.Auth}, {"user", cfg.User}, {"header", cfg.Header}} {
		if s.value != "" {
			return s.key, fmt.Errorf("insecure: true and %s exclude each other: remove one", s.key)
		}
	}
	return "", nil
}

// check lets everything pass when there is no secret: newAuth has seen to it that
// this is wanted.
func (a *auth) check(h http.Header) error {
	if len(a.secrets) == 0 {
		return nil
	}
	given, err := a.given(h)
	if err != nil {
		return err
	}
	if !isSecret(given, a.wanted()) {
		return refuse(ReasonForged, "the credentials in the header %s are wrong: check them on both sides", a.name())
	}
	return nil
}

// given is what the request brings.
func (a *auth) given(h http.Header) (string, error) {
	value, err := needed(h, a.name(), "the sender has to send its credentials there")
	if err != nil || a.scheme == AuthAPIKey {
		return value, err
	}
	scheme, rest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, a.scheme) || rest == "" {
		return "", refuse(ReasonUnsigned, "the header %s has no credentials of the kind %s", a.name(), a.scheme)
	}
	return strings.TrimSpace(rest), nil
}

func (a *auth) name() string {
	if a.scheme == AuthAPIKey {
		return a.header
	}
	return "Authorization"
}

// wanted are the values that are good.
func (a *auth) wanted() []string {
	wanted := make([]string, len(a.secrets))
	for i, s := range a.secrets {
		wanted[i] = string(s)
		if a.scheme == AuthBasic {
			wanted[i] = basic(a.user, s)
		}
	}
	return wanted
}

// sign puts the credentials into a request.
func (a *auth) sign(h http.Header) {
	if len(a.secrets) == 0 {
		return
	}
	switch a.scheme {
	case AuthAPIKey:
		h.Set(a.header, string(a.secrets[0]))
	case AuthBasic:
		h.Set("Authorization", "Basic "+basic(a.user, a.secrets[0]))
	default:
		h.Set("Authorization", "Bearer "+string(a.secrets[0]))
	}
}

func basic(user string, password Secret) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, string(password))
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// isSecret compares in a time that tells neither the value nor its length.
func isSecret(given string, wanted []string) bool {
	equal := 0
	sum := sha256.Sum256([]byte(given))
	for _, w := range wanted {
		want := sha256.Sum256([]byte(w))
		equal |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return equal == 1
}
