package trigger

// fields takes an object, and calls take with the name of each member to take its
// value. A name that is longer than any in use comes as "".
func (s *scanner) fields(take func(name string) error) error {
	return s.object(func(key []byte) error {
		if len(key) > maxEscaped {
			return take("")
		}
		return take(string(s.unescape(key)))
	})
}

// raw takes any value, and returns it as it stands there.
func (s *scanner) raw() ([]byte, error) {
	s.next()
	start := s.pos
	err := s.value()
	return s.data[start:s.pos:s.pos], err
}

// string takes any value, and returns what it is when it is a string that can be
// a name or an id, else "".
func (s *scanner) string() (string, error) {
	if s.next() != '"' {
		return "", s.value()
	}
	name, _, err := s.name()
	return name, err
}

// into is string, stored.
func (s *scanner) into(text *string) (err error) {
	*text, err = s.string()
	return err
}

// name takes a string; ok says whether it can be a name or an id, else it is "".
func (s *scanner) name() (name string, ok bool, err error) {
	raw, err := s.text()
	if err != nil || len(raw) > maxEscaped {
		return "", false, err
	}
	if name = string(s.unescape(raw)); !isName(name) {
		return "", false, nil
	}
	return name, true, nil
}
