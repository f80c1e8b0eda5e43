package trigger

import (
	"bytes"
	"net/url"
	"strings"
)

// Payload returns the JSON that a function gets for a body of that content type:
// the body itself for JSON, or when no content type is given; the field payload
// of a form. Anything else is an *Error. Payload does not look inside the JSON:
// that was checked when the request was verified.
func Payload(contentType string, body []byte) ([]byte, error) {
	switch media := mediaType(contentType); {
	case isJSON(media):
		return body, nil
	case media == "application/x-www-form-urlencoded":
		return formField(body, "payload")
	default:
		return nil, refuse(ReasonContentType, "the body is neither JSON nor a form: send it with Content-Type: application/json")
	}
}

// mediaType strips the parameters, such as the character set.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

func isJSON(media string) bool {
	switch media {
	case "", "application/json":
		return true
	default:
		return strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
	}
}

// formField returns the one field of that name. It does not collect the others,
// as a form of 25 MB can have millions.
func formField(form []byte, name string) ([]byte, error) {
	var field []byte
	for pair := range bytes.SplitSeq(form, []byte{'&'}) {
		key, value, _ := bytes.Cut(pair, []byte{'='})
		if !isField(key, name) {
			continue
		}
		if field != nil {
			return nil, refuse(ReasonMalformed, "the form has the field %q twice", name)
		}
		text, err := url.QueryUnescape(string(value))
		if err != nil {
			return nil, refuse(ReasonMalformed, "the field %q of the form is not URL-encoded", name)
		}
		field = []byte(text)
	}
	if field == nil {
		return nil, refuse(ReasonMalformed, "the form has no field %q: send JSON with Content-Type: application/json", name)
	}
	return field, nil
}

// isField says whether key, URL-encoded, is name.
func isField(key []byte, name string) bool {
	if bytes.IndexByte(key, '%') < 0 {
		return string(key) == name
	}
	if len(key) > 3*len(name) {
		return false
	}
	text, err := url.QueryUnescape(string(key))
	return err == nil && text == name
}

// Kind tells the sender by the shape of the body: GitHub for an object with ref
// and commits (a push), Alexa for one with request and with session or context,
// "" for everything else, also when it is both or no JSON. The kind is a guess
// until the Verifier of that kind accepts the request.
func Kind(body []byte) string {
	has := topLevel(body, "ref", "commits", "request", "session", "context")
	push := has[0] && has[1]
	voice := has[2] && (has[3] || has[4])
	switch {
	case push && !voice:
		return GitHub
	case voice && !push:
		return Alexa
	default:
		return ""
	}
}
