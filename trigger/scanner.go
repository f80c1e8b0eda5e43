package trigger

// scanner reads JSON that is known to be UTF-8, in one pass and without copies.
type scanner struct {
	data    []byte
	pos     int
	depth   int
	decoded []byte // what unescape returned last
}

func (s *scanner) syntax() error {
	if s.pos >= len(s.data) {
		return refuse(ReasonSyntax, "the body is not JSON: it ends too early, after %d bytes", len(s.data))
	}
	return refuse(ReasonSyntax, "the body is not JSON from byte %d on", s.pos)
}

// next skips white space and returns the byte at the new position without
// taking it; at the end it returns 0, which is no byte of JSON either.
func (s *scanner) next() byte {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' {
		return s.data[s.pos]
	}
	return s.skipSpace()
}

func (s *scanner) skipSpace() byte {
	for i, c := range s.data[s.pos:] {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			s.pos += i
			return c
		}
	}
	s.pos = len(s.data)
	return 0
}

// value takes any value.
func (s *scanner) value() error {
	switch s.next() {
	case '"':
		_, err := s.text()
		return err
	case '{':
		return s.object(nil)
	case '[':
		return s.elements(nil)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// object takes an object. It calls member with each key, undecoded, to take the
// value that follows; nil takes any.
func (s *scanner) object(member func(key []byte) error) error {
	if err := s.enter('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.leave()
		return nil
	}
	for {
		key, err := s.key()
		if err != nil {
			return err
		}
		if member == nil {
			err = s.value()
		} else {
			err = member(key)
		}
		if err != nil {
			return err
		}
		if more, err := s.more('}'); !more {
			return err
		}
	}
}

// elements takes an array. It calls take for each element, to take it; nil takes any.
func (s *scanner) elements(take func() error) error {
	if err := s.enter('['); err != nil {
		return err
	}
	if s.next() == ']' {
		s.leave()
		return nil
	}
	for {
		var err error
		if take == nil {
			err = s.value()
		} else {
			err = take()
		}
		if err != nil {
			return err
		}
		if more, err := s.more(']'); !more {
			return err
		}
	}
}

// kinds of values, by how they open.
var kinds = [256]string{'{': "object", '[': "array"}

func (s *scanner) enter(open byte) error {
	if s.next() != open {
		return refuse(ReasonMalformed, "there must be a JSON %s at byte %d", kinds[open], s.pos)
	}
	if s.depth == MaxDepth {
		return refuse(ReasonDepth, "the body is nested deeper than %d levels", MaxDepth)
	}
	s.depth++
	s.pos++
	return nil
}

func (s *scanner) leave() {
	s.depth--
	s.pos++
}

// more takes the comma before another element, or the closing bracket.
func (s *scanner) more(end byte) (bool, error) {
	switch s.next() {
	case ',':
		s.pos++
		return true, nil
	case end:
		s.leave()
		return false, nil
	default:
		return false, s.syntax()
	}
}

// key takes a key and its colon.
func (s *scanner) key() ([]byte, error) {
	key, err := s.text()
	if err != nil {
		return nil, err
	}
	if s.next() != ':' {
		return nil, s.syntax()
	}
	s.pos++
	return key, nil
}

// text takes a string and returns what is between its quotes, undecoded.
func (s *scanner) text() ([]byte, error) {
	if s.next() != '"' {
		return nil, s.syntax()
	}
	s.pos++
	start := s.pos
	for {
		s.pos += plainLen(s.data[s.pos:])
		if s.pos == len(s.data) {
			return nil, s.syntax()
		}
		if s.data[s.pos] == '"' {
			s.pos++
			return s.data[start : s.pos-1], nil
		}
		n := escapeLen(s.data[s.pos:])
		if n == 0 {
			return nil, s.syntax()
		}
		s.pos += n
	}
}

// plainLen is the number of bytes at the start of b that stand for themselves
// in a string.
func plainLen(b []byte) int {
	for i, c := range b {
		if c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return len(b)
}

// escapeLen is the length of the escape sequence at the start of b, 0 if it is
// none.
func escapeLen(b []byte) int {
	if len(b) < 2 || b[0] != '\\' {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) && isHex(b[5]) {
			return 6
		}
	}
	return 0
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scanner) literal(word string) error {
	end := s.pos + len(word)
	if end > len(s.data) || string(s.data[s.pos:end]) != word {
		return s.syntax()
	}
	s.pos = end
	return nil
}

// number takes -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
func (s *scanner) number() error {
	s.skip('-', '-')
	if !s.skip('0', '0') && !s.digits() {
		return s.syntax()
	}
	if s.skip('.', '.') && !s.digits() {
		return s.syntax()
	}
	if s.skip('e', 'E') {
		s.skip('+', '-')
		if !s.digits() {
			return s.syntax()
		}
	}
	return nil
}

// skip takes one byte if it is a or b.
func (s *scanner) skip(a, b byte) bool {
	if s.pos == len(s.data) || s.data[s.pos] != a && s.data[s.pos] != b {
		return false
	}
	s.pos++
	return true
}

// digits takes as many digits as there are, and says whether there are any.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && isDigit(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}
