package trigger

import (
	"bytes"
	"strings"
)

// Payload returns the JSON that a function gets for a stored body: what the form
// of its event makes of it, see Event.Form. Anything else than JSON is an *Error.
func Payload(form, contentType string, body []byte) ([]byte, error) {
	name, argument, _ := strings.Cut(form, " ")
	switch name {
	case "":
		return plainPayload(contentType, body)
	case formFields:
		return fieldsPayload(contentType, body)
	case formCloudEvent:
		return structuredPayload(body)
	case formData:
		return dataPayload(contentType, body), nil
	case snsFormLambda, snsFormMessage, snsFormRaw, snsFormDelivered:
		return snsPayload(form, body)
	case formRecords:
		return asRecords(body), nil
	case formFirehose:
		return firehosePayload(argument, body)
	case formS3:
		return s3Payload(body)
	default:
		return nil, refuse(ReasonMalformed, "the event has the form %q, which this version does not know: a newer one stored it", form)
	}
}

// plainPayload is the body itself for JSON, or when no content type is given; the
// field payload of a form. It does not look inside the JSON: that was checked
// when the request was verified.
func plainPayload(contentType string, body []byte) ([]byte, error) {
	switch media := mediaType(contentType); {
	case isJSON(media):
		return body, nil
	case media == formType:
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
		var ok bool
		if field, ok = unescape(value, ' '); !ok {
			return nil, refuse(ReasonMalformed, "the field %q of the form is not URL-encoded", name)
		}
	}
	if field == nil {
		return nil, refuse(ReasonMalformed, "the form has no field %q: send JSON with Content-Type: application/json", name)
	}
	return field, nil
}

// unescape undoes percent-encoding; plus is what a plus stands for. It is
// url.QueryUnescape or url.PathUnescape with one copy in place of three.
func unescape(value []byte, plus byte) (text []byte, ok bool) {
	text = make([]byte, 0, len(value)-min(len(value), 2*bytes.Count(value, []byte{'%'})))
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '+':
			text = append(text, plus)
		case c != '%':
			text = append(text, c)
		case i+2 >= len(value) || !isHex(value[i+1]) || !isHex(value[i+2]):
			return nil, false
		default:
			text = append(text, byte(hexRune(value[i+1:i+3])))
			i += 2
		}
	}
	return text, true
}

// isField says whether key, URL-encoded, is name.
func isField(key []byte, name string) bool {
	if bytes.IndexByte(key, '%') < 0 {
		return string(key) == name
	}
	if len(key) > 3*len(name) {
		return false
	}
	text, ok := unescape(key, ' ')
	return ok && string(text) == name
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
