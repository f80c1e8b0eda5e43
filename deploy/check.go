package deploy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// functionPort is where functions listen unless an address says otherwise.
	functionPort = "9999"

	// maxToken is the most bytes of an escaped name: it is one token of a
	// subject of the queue, and a label of DNS.
	maxToken = 63

	maxPath = 255
)

// checkName says what is wrong with the name of a function. Its errors complete
// the sentence "function name ...".
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty: write one")
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is not UTF-8: correct it", shorten(name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%q has control characters: remove them", shorten(name))
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("%q has a blank at its begin or end: remove it", shorten(name))
	case escapedLen(name) > maxToken:
		return fmt.Errorf("%q takes %d bytes, the limit is %d (each byte other than A-Z a-z 0-9 _ - counts as three): shorten it",
			shorten(name), escapedLen(name), maxToken)
	}
	return nil
}

// escapedLen is the length of a name in which each byte outside [A-Za-z0-9_-]
// is written as =HH.
func escapedLen(name string) int {
	n := 0
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
			n++
		default:
			n += 3
		}
	}
	return n
}

// shorten keeps a name in a message readable.
func shorten(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// printable reports whether s has neither blanks nor control characters.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) })
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$`)

// parseAddress completes "host", "host:port" or an IP address to "host:port".
func parseAddress(s string) (string, error) {
	if strings.Contains(s, "://") {
		return "", errors.New("has a scheme: write host:port only")
	}
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return net.JoinHostPort(ip.String(), functionPort), nil
	}
	if !strings.Contains(s, ":") {
		s += ":" + functionPort
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("is not host:port: write for example 10.0.0.7:9999 or [::1]:9999")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("has no port from 1 to 65535: correct it")
	}
	if !isHost(host) {
		return "", errors.New("has no IP address or host name before the port: correct it")
	}
	return net.JoinHostPort(host, port), nil
}

func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return hostName.MatchString(host) && strings.Trim(host, "0123456789.") != ""
}

var secretName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?$`)

func checkSecretName(s string) (string, error) { return checkDockerName(s, "secret") }

func checkConfigName(s string) (string, error) { return checkDockerName(s, "config") }

func checkDockerName(s, kind string) (string, error) {
	if !secretName.MatchString(s) {
		return "", fmt.Errorf("is not the name of a Docker %s: use up to 64 letters, digits and - _ . between them", kind)
	}
	return s, nil
}

func checkConstraint(s string) (string, error) {
	key, value, ok := strings.Cut(s, "!=")
	if !ok {
		key, value, ok = strings.Cut(s, "==")
	}
	if !ok || strings.TrimSpace(key) == "" || strings.TrimSpace(value) == "" {
		return "", errors.New("is not a constraint: write key==value or key!=value")
	}
	return s, nil
}

var urlPath = regexp.MustCompile(`^/[A-Za-z0-9._~/-]+$`)

// checkPath says what is wrong with the path of a trigger. Its errors complete
// the sentence "path ...".
func checkPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return errors.New("does not begin with /: add it")
	case s == "/":
		return errors.New("is taken for requests that are known by their shape: write for example /github/acme")
	case s == "/healthz", s == "/functions", strings.HasPrefix(s, "/functions/"):
		return errors.New("is taken by the gateway itself: write another one")
	case len(s) > maxPath:
		return fmt.Errorf("is longer than %d bytes: shorten it", maxPath)
	case !urlPath.MatchString(s):
		return errors.New("has other characters than A-Z a-z 0-9 - . _ ~ /: remove them")
	case path.Clean(s) != s:
		return fmt.Errorf("is not in its shortest form: write %s", path.Clean(s))
	}
	return nil
}
