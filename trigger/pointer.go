package trigger

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// pointer is a JSON pointer (RFC 6901): names of members and indices of elements,
// from the outside.
type pointer [][]byte

// parsePointer reads what begins with a slash.
func parsePointer(s string) (pointer, error) {
	if !isName(s) {
		return nil, fmt.Errorf("is longer than %d bytes or has control characters", maxName)
	}
	var p pointer
	for step := range strings.SplitSeq(strings.TrimPrefix(s, "/"), "/") {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(step), "~") {
			return nil, errors.New("is not a JSON pointer: write ~0 for ~, and ~1 for a / in the name of a member")
		}
		p = append(p, []byte(strings.NewReplacer("~0", "~", "~1", "/").Replace(step)))
	}
	return p, nil
}

// scalar is a string or a number that can be a name or an id; text is "" for null
// and for nothing. Anything else is unfit.
type scalar struct {
	text   string
	number bool
	unfit  bool
}

// name is the text of a string.
func (s scalar) name() string {
	if s.number {
		return ""
	}
	return s.text
}

// scalarAt checks body as CheckJSON does and returns what is at a pointer. It
// refuses a body in which readers could find different values there, see member.
func scalarAt(body []byte, at pointer) (found scalar, err error) {
	err = readDocument(body, func(s *scanner) error { return s.seek(at, &found) })
	return found, err
}

func (s *scanner) seek(at pointer, to *scalar) error {
	c := s.next()
	switch {
	case len(at) == 0:
		return s.scalar(to)
	case c == '{':
		return s.seekMember(at, to)
	case c == '[':
		return s.seekElement(at, to)
	default:
		return s.value()
	}
}

func (s *scanner) seekMember(at pointer, to *scalar) error {
	similar, exact := 0, false
	err := s.object(func(key []byte) error {
		if len(key) > maxEscaped {
			return s.value()
		}
		name := s.unescape(key)
		if !bytes.EqualFold(name, at[0]) {
			return s.value()
		}
		similar++
		if !bytes.Equal(name, at[0]) {
			return s.value()
		}
		exact = true
		return s.seek(at[1:], to)
	})
	if err == nil && exact && similar > 1 {
		return refuse(ReasonMalformed, "the member %q is there twice, or once more in other letters", at[0])
	}
	return err
}

func (s *scanner) seekElement(at pointer, to *scalar) error {
	wanted, i := elementOf(string(at[0])), -1
	return s.elements(func() error {
		if i++; i != wanted {
			return s.value()
		}
		return s.seek(at[1:], to)
	})
}

// elementOf is the index that a step of a pointer is, -1 when it is none.
func elementOf(step string) int {
	i, err := strconv.Atoi(step)
	if err != nil || strconv.Itoa(i) != step {
		return -1
	}
	return i
}

func (s *scanner) scalar(to *scalar) error {
	switch c := s.next(); {
	case c == '"':
		text, ok, err := s.name()
		*to = scalar{text: text, unfit: !ok}
		return err
	case c == '-' || isDigit(c):
		start := s.pos
		err := s.number()
		*to = scalar{unfit: true}
		if s.pos-start <= maxName {
			*to = scalar{text: string(s.data[start:s.pos]), number: true}
		}
		return err
	default:
		*to = scalar{unfit: c != 'n'}
		return s.value()
	}
}
