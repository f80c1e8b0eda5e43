package trigger

// PayloadMembers is Payload for a function that gets only some members of the
// object: those whose names are in names, in the order of the object and byte
// for byte as they stand there. nil means all, and then the payload need not be
// an object. One that is there twice stays twice.
func PayloadMembers(form, contentType string, body []byte, names []string) ([]byte, error) {
	payload, err := Payload(form, contentType, body)
	if err != nil || names == nil {
		return payload, err
	}
	chosen := make(map[string]bool, len(names))
	for _, name := range names {
		chosen[name] = true
	}
	if first := firstByte(payload); first != '{' && first != 0 {
		return nil, refuse(ReasonMalformed, "the payload is not an object, and its function gets members of one: see input in the manifest")
	}
	out, err := appendMembers([]byte{'{'}, payload, func(name []byte) bool { return chosen[string(name)] })
	return append(out, '}'), err
}

// appendMembers adds to an object that is not closed those members of the object
// body that want chooses, byte for byte.
func appendMembers(object, body []byte, want func(name []byte) bool) ([]byte, error) {
	err := checkDocument(body, func(s *scanner) error {
		return s.object(func(key []byte) error {
			wanted, start := want(s.unescape(key)), s.pos
			err := s.value()
			if err == nil && wanted {
				object = appendMember(object, key, body[start:s.pos])
			}
			return err
		})
	})
	return object, err
}

// appendMember adds a member, whose key is as it stood between its quotes, to an object that is not closed.
func appendMember(object, key, value []byte) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	object = append(append(append(object, '"'), key...), `":`...)
	return append(object, value...)
}
