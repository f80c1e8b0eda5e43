package ingress

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxies are the ranges of addresses whose word on the client is taken.
type proxies []netip.Prefix

// client returns the address of the client of a request: of the one who is
// connected, with its port; or when that is a proxy of ours, the rightmost address
// of X-Forwarded-For (or of Forwarded, RFC 7239) that is none of our proxies.
// What stands left of it is hearsay.
//
// When a header cannot be read, or both are there and say different things, the
// client may have made one of them up: the address is that of the proxy.
func (p proxies) client(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !p.trust(peer.Addr()) {
		return r.RemoteAddr
	}
	x, readable := p.rightmost(splitList(r.Header.Values("X-Forwarded-For")))
	if !readable {
		return r.RemoteAddr
	}
	f, readable := p.rightmost(forwardedFor(r.Header.Values("Forwarded")))
	switch {
	case !readable, x.IsValid() && f.IsValid() && x != f:
		return r.RemoteAddr
	case x.IsValid():
		return x.String()
	case f.IsValid():
		return f.String()
	}
	return r.RemoteAddr
}

func (p proxies) trust(a netip.Addr) bool {
	a = unmapped(a)
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// rightmost returns the last address that is no proxy of ours, the first one when
// all are, and the zero Addr when there is none.
func (p proxies) rightmost(nodes []string) (a netip.Addr, readable bool) {
	for _, node := range slices.Backward(nodes) {
		if a, readable = parseNode(node); !readable {
			return netip.Addr{}, false
		}
		if !p.trust(a) {
			break
		}
	}
	return a, true
}

// parseNode reads an address, of version 6 with or without brackets, with or
// without a port. RFC 7239 also has "unknown" and names that hide an address,
// which are none.
func parseNode(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return unmapped(ap.Addr()), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(text)
	return unmapped(a), err == nil
}

// unmapped is an address as a range would have it.
func unmapped(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// splitList returns the elements of a header that is a list, as all its lines
// have them.
func splitList(lines []string) (elements []string) {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			elements = append(elements, strings.TrimSpace(element))
		}
	}
	return elements
}

// forwardedFor returns the parameter "for" of each element of the header
// Forwarded. When the header does not follow the grammar of RFC 7239, section 4,
// there is one element that is no address: a quote which the client leaves open
// must not swallow what the proxy adds.
func forwardedFor(lines []string) (nodes []string) {
	malformed := []string{""}
	node, rest := "", strings.Join(lines, ",")
	for rest != "" {
		name, value, after, ok := cutPair(rest)
		if strings.EqualFold(name, "for") {
			node = value
		}
		switch {
		case !ok:
			return malformed
		case after == "":
			return append(nodes, node)
		case after[0] == ',':
			nodes, node = append(nodes, node), ""
		case after[0] != ';':
			return malformed
		}
		rest = after[1:]
	}
	if len(lines) == 0 {
		return nil
	}
	return malformed
}

// cutPair cuts name=value, whose value may be quoted, off the beginning. The rest
// begins behind the space that follows.
func cutPair(s string) (name, value, rest string, ok bool) {
	name, s, ok = strings.Cut(strings.TrimLeft(s, " \t"), "=")
	if !ok || strings.ContainsAny(name, " \t\",;") {
		return "", "", "", false
	}
	if quoted, isQuoted := strings.CutPrefix(s, `"`); isQuoted {
		// No address has a quote or a backslash in it, so escapes are not resolved.
		if value, rest, ok = strings.Cut(quoted, `"`); !ok || strings.Contains(value, `\`) {
			return "", "", "", false
		}
	} else {
		end := strings.IndexAny(s, " \t,;\"")
		if end < 0 {
			end = len(s)
		}
		value, rest = s[:end], s[end:]
	}
	return name, value, strings.TrimLeft(rest, " \t"), true
}
