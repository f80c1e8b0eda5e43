package trigger

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// member is a member of an object on which a verifier relies, because it
// authorises or routes the request. The function that gets the same bytes must
// find the same value whatever its parser does, and parsers differ on which of
// two equal keys wins, and on whether the case of a key matters (encoding/json:
// no). So such a member must be there once, spelled exactly, or not at all.
// Other members are nobody's business here.
type member struct {
	name    string
	index   int      // of the member in what readShape fills
	members []member // of an object; nil for a string
}

// found is what readShape found at a member.
type found struct {
	given bool
	text  string // of a string, decoded
}

// readShape checks that body is JSON as CheckJSON does, that it is an object
// with members as described, and stores what it found there in out.
func readShape(body []byte, members []member, out []found) error {
	return readDocument(body, func(s *scanner) error { return s.shape(members, out) })
}

// readMembers checks body as readShape does, and returns the values of its members
// as they stand there: nil for what is not there.
func readMembers(body []byte, members []member) ([][]byte, error) {
	values := make([][]byte, len(members))
	err := readDocument(body, func(s *scanner) error {
		return s.object(func(key []byte) error {
			m, err := s.memberOf(members, key)
			if err != nil {
				return err
			}
			value, err := s.raw()
			if err != nil || m == nil {
				return err
			}
			if values[m.index] != nil {
				return refuse(ReasonMalformed, "the member %q is there twice", m.name)
			}
			values[m.index] = value
			return nil
		})
	})
	return values, err
}

func (s *scanner) shape(members []member, out []found) error {
	return s.object(func(key []byte) error {
		m, err := s.memberOf(members, key)
		if err != nil {
			return err
		}
		if m == nil {
			return s.value()
		}
		if out[m.index].given {
			return refuse(ReasonMalformed, "the member %q is there twice", m.name)
		}
		out[m.index].given = true
		if m.members != nil {
			return s.shape(m.members, out)
		}
		return s.memberName(m, &out[m.index].text)
	})
}

// memberOf returns the member with the undecoded key, nil if there is none.
func (s *scanner) memberOf(members []member, key []byte) (*member, error) {
	if len(members) == 0 || len(key) > maxEscaped {
		return nil, nil
	}
	name := s.unescape(key)
	for i := range members {
		m := &members[i]
		if string(name) == m.name {
			return m, nil
		}
		if bytes.EqualFold(name, []byte(m.name)) {
			return nil, refuse(ReasonMalformed, "a member is spelled almost like %q: spell it exactly so", m.name)
		}
	}
	return nil, nil
}

// memberName takes a string that is a name or an id.
func (s *scanner) memberName(m *member, to *string) error {
	if s.next() != '"' {
		return refuse(ReasonMalformed, "the member %q must be a string", m.name)
	}
	name, ok, err := s.name()
	if err != nil {
		return err
	}
	*to = name
	if !ok {
		return refuse(ReasonMalformed, "the member %q is longer than %d bytes or has control characters", m.name, maxName)
	}
	return nil
}

// maxEscaped is how long a name can be in JSON, in bytes.
const maxEscaped = maxName * len(`\u0000`)

// unescape decodes what is between the quotes of a valid JSON string. The result
// is good until the next call: a body of 25 MB has room for millions of strings.
func (s *scanner) unescape(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	out := slices.Grow(s.decoded[:0], len(raw))
	for len(raw) > 0 {
		switch {
		case raw[0] != '\\':
			n := plainLen(raw)
			out, raw = append(out, raw[:n]...), raw[n:]
		case raw[1] == 'u':
			var r rune
			r, raw = escapedRune(raw)
			out = utf8.AppendRune(out, r)
		default:
			out, raw = append(out, escapes[raw[1]]), raw[2:]
		}
	}
	s.decoded = out
	return out
}

// escapes are the bytes that a letter after a backslash stands for.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escapedRune decodes the \u at the start of raw, or two of them that are one
// rune, and returns what follows. Half of a pair becomes U+FFFD.
func escapedRune(raw []byte) (rune, []byte) {
	r := hexRune(raw[2:6])
	raw = raw[6:]
	if !utf16.IsSurrogate(r) {
		return r, raw
	}
	if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
		if pair := utf16.DecodeRune(r, hexRune(raw[2:6])); pair != utf8.RuneError {
			return pair, raw[6:]
		}
	}
	return utf8.RuneError, raw
}

func hexRune(digits []byte) rune {
	var r rune
	for _, c := range digits {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		case c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			r = r<<4 | rune(c-'a'+10)
		}
	}
	return r
}

// isName says whether s can go into a header or a log line as it is.
func isName(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// topLevel says which of the keys the object body has, in the order of keys.
// Of a body that is not an object it says no to all.
func topLevel(body []byte, keys ...string) []bool {
	has := make([]bool, len(keys))
	err := checkDocument(body, func(s *scanner) error {
		return s.object(func(raw []byte) error {
			if len(raw) > maxEscaped {
				return s.value()
			}
			name := s.unescape(raw)
			for i, key := range keys {
				has[i] = has[i] || string(name) == key
			}
			return s.value()
		})
	})
	if err != nil {
		clear(has)
	}
	return has
}
