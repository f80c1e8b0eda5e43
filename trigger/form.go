package trigger

import (
	"bytes"
	"unicode/utf8"
)

const formType = "application/x-www-form-urlencoded"

// formFields is the Event.Form of a form of which a function gets all fields, as
// one JSON object of strings.
const formFields = "fields"

// maxFields bounds what is kept of a form: a small one can have millions.
const maxFields = 256

type field struct{ name, value string }

// fieldsPayload makes an object of a form, in the form's order.
func fieldsPayload(contentType string, form []byte) ([]byte, error) {
	if mediaType(contentType) != formType {
		return nil, refuse(ReasonContentType, "the body is not a form: send it with Content-Type: %s", formType)
	}
	fields, err := readForm(form)
	if err != nil {
		return nil, err
	}
	object := []byte{'{'}
	for _, f := range fields {
		name := quote(f.name)
		object = appendMember(object, name[1:len(name)-1], quote(f.value))
	}
	return append(object, '}'), nil
}

// readForm decodes all fields, which have different names.
func readForm(form []byte) ([]field, error) {
	if len(form) == 0 {
		return nil, refuse(ReasonEmpty, "the body is empty: send a form")
	}
	var fields []field
	seen := map[string]bool{}
	for pair := range bytes.SplitSeq(form, []byte{'&'}) {
		if len(pair) == 0 {
			continue
		}
		f, err := readField(pair)
		if err != nil {
			return nil, err
		}
		if seen[f.name] {
			return nil, refuse(ReasonMalformed, "the form has a field twice")
		}
		if len(fields) == maxFields {
			return nil, refuse(ReasonMalformed, "the form has more than %d fields", maxFields)
		}
		seen[f.name] = true
		fields = append(fields, f)
	}
	return fields, nil
}

func readField(pair []byte) (field, error) {
	key, value, _ := bytes.Cut(pair, []byte{'='})
	name, ok := unescape(key, ' ')
	text, valid := unescape(value, ' ')
	switch {
	case !ok || !valid:
		return field{}, refuse(ReasonMalformed, "a field of the form is not URL-encoded")
	case !utf8.Valid(name) || !utf8.Valid(text):
		return field{}, refuse(ReasonEncoding, "a field of the form is not valid UTF-8")
	}
	return field{string(name), string(text)}, nil
}
