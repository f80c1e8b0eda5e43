package trigger

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested in a body. Senders stay
// below 20. Functions give up much earlier than Go's own limit of 10,000:
// Python's json module near 1,000 levels, Node's JSON.stringify before 5,000;
// a body that no function can read must be refused before it is stored.
const MaxDepth = 500

// CheckJSON returns nil if body is exactly one JSON value (RFC 8259) in valid
// UTF-8 with at most MaxDepth levels, else an *Error with ReasonEmpty,
// ReasonEncoding, ReasonSyntax or ReasonDepth. Duplicate keys are allowed. It
// accepts what json.Valid accepts within these limits, in about a third of the
// time, as every request waits for it.
func CheckJSON(body []byte) error {
	return checkDocument(body, (*scanner).value)
}

// checkDocument is CheckJSON with a choice of how to scan the value.
func checkDocument(body []byte, value func(*scanner) error) error {
	if len(body) == 0 {
		return refuse(ReasonEmpty, "the body is empty: send JSON")
	}
	if !utf8.Valid(body) {
		return refuse(ReasonEncoding, "the body is not valid UTF-8 from byte %d on", invalidUTF8(body))
	}
	s := scanner{data: body}
	if err := value(&s); err != nil {
		return err
	}
	if s.next(); s.pos != len(body) {
		return s.syntax()
	}
	return nil
}

// readDocument is checkDocument for a value of a shape that the sender's requests
// have. What is wrong with the bytes matters more than what is wrong with the
// shape, and may come after it.
func readDocument(body []byte, value func(*scanner) error) error {
	err := checkDocument(body, value)
	if err == nil {
		return nil
	}
	if broken := CheckJSON(body); broken != nil {
		return broken
	}
	return err
}

func invalidUTF8(body []byte) int {
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(body)
}

// quote writes valid UTF-8 as a JSON string.
func quote(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string can always be written, into memory
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
