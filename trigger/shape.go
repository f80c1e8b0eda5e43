package trigger

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
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
	err := checkDocument(body, func(s *scanner) error { return s.shape(members, out) })
	if err == nil {
		return nil
	}
	// What is wrong with the bytes matters more than what is wrong with the
	// shape, and may come after it.
	if broken := CheckJSON(body); broken != nil {
		return broken
	}
	return err
}

func (s *scanner) shape(members []member, out []found) error {
	if s.next() != '{' {
		return refuse(ReasonMalformed, "there must be a JSON object at byte %d", s.pos)
	}
	return s.object(func(key []byte) error {
		m, err := memberOf(members, key)
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
		return s.name(m, &out[m.index].text)
	})
}

// memberOf returns the member with the undecoded key, nil if there is none.
func memberOf(members []member, key []byte) (*member, error) {
	name := unescape(key)
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

// name takes a string that is a name or an id.
func (s *scanner) name(m *member, to *string) error {
	if s.next() != '"' {
		return refuse(ReasonMalformed, "the member %q must be a string", m.name)
	}
	raw, err := s.text()
	if err != nil {
		return err
	}
	*to = string(unescape(raw))
	if !isName(*to) {
		return refuse(ReasonMalformed, "the member %q is longer than %d bytes or has control characters", m.name, maxName)
	}
	return nil
}

// unescape decodes what is between the quotes of a valid JSON string.
func unescape(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var s string
	if err := json.Unmarshal(slices.Concat([]byte{'"'}, raw, []byte{'"'}), &s); err != nil {
		return raw
	}
	return []byte(s)
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
			name := unescape(raw)
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
