package trigger

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	specVersion  = "1.0"
	headerPrefix = "Ce-"

	// maxAttribute is the limit of an attribute in bytes, where maxName is not:
	// subjects are paths in object stores, which have up to 1024.
	maxAttribute = 2048
	// maxAttributes is the limit of all of them together, as they are sent.
	maxAttributes = 16 << 10
)

// attributeHeader is the header of an attribute.
func attributeHeader(name string) string { return http.CanonicalHeaderKey(headerPrefix + name) }

func binaryEvent(r Request) (Event, error) {
	header, err := attributeHeaders(r.Header)
	if err != nil {
		return Event{}, err
	}
	a, err := attributes(header)
	if err != nil {
		return Event{}, err
	}
	if err := checkAttributes(a); err != nil {
		return Event{}, err
	}
	if err := checkData(r.Header.Get("Content-Type"), r.Body); err != nil {
		return Event{}, err
	}
	return Event{
		Name: a["type"], Identity: identityOf(a["source"], a["id"]), Answer: AnswerStored, Form: formData, Header: header,
	}, nil
}

// identityOf is unambiguous, as neither has a control character.
func identityOf(source, id string) string { return source + "\n" + id }

// attributeHeaders returns the headers that hold attributes, as they were sent.
func attributeHeaders(from http.Header) (map[string]string, error) {
	kept, size := map[string]string{}, 0
	for name, values := range from {
		if !strings.HasPrefix(name, headerPrefix) {
			continue
		}
		if len(values) != 1 {
			return nil, refuse(ReasonMalformed, "an attribute of the event is there twice")
		}
		size += len(name) + len(values[0])
		kept[name] = values[0]
	}
	if size > maxAttributes {
		return nil, refuse(ReasonMalformed, "the attributes of the event have more than %d bytes", maxAttributes)
	}
	if _, given := kept[attributeHeader("datacontenttype")]; given {
		return nil, refuse(ReasonMalformed, "the header %s is not allowed: Content-Type says what the data is", attributeHeader("datacontenttype"))
	}
	return kept, nil
}

// attributes decodes the attributes in headers.
func attributes(header map[string]string) (map[string]string, error) {
	all := make(map[string]string, len(header))
	for key, value := range header {
		name, ok := strings.CutPrefix(key, headerPrefix)
		if !ok {
			continue
		}
		if name = strings.ToLower(name); !isAttribute(name) {
			return nil, refuse(ReasonMalformed, "the name of an attribute has something else than letters and digits")
		}
		text, ok := decodeAttribute(value)
		if !ok {
			return nil, refuse(ReasonMalformed, "the header %s is not percent-encoded UTF-8 without control characters, or is longer than %d bytes", key, maxAttribute)
		}
		all[name] = text
	}
	return all, nil
}

func isAttribute(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// checkAttributes is about those that every event must have.
func checkAttributes(a map[string]string) error {
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if a[name] == "" {
			return refuse(ReasonMalformed, "the header %s is missing: send it, or the event in JSON with Content-Type: %s", attributeHeader(name), structuredType+jsonFormat)
		}
	}
	return checkRequired(a["specversion"], a["id"], a["type"])
}

func checkRequired(version, id, name string) error {
	switch {
	case version != specVersion:
		return refuse(ReasonMalformed, "the event has another specversion than %s", specVersion)
	case !isName(id) || !isName(name):
		return refuse(ReasonMalformed, "id or type is longer than %d bytes", maxName)
	}
	return nil
}

// decodeAttribute undoes quotes around a value (RFC 7230, section 3.2.6), and then
// one round of percent-encoding. Overlong UTF-8 is no UTF-8.
func decodeAttribute(value string) (text string, ok bool) {
	if strings.HasPrefix(value, `"`) {
		if value, ok = unquote(value); !ok {
			return "", false
		}
	}
	decoded, ok := unescape([]byte(value), '+')
	return string(decoded), ok && isAttributeText(string(decoded))
}

func isAttributeText(s string) bool {
	return len(s) <= maxAttribute && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func unquote(value string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			return b.String(), i == len(value)-1
		case c == '\\' && i+1 < len(value):
			i++
			b.WriteByte(value[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// What a function gets of data that is sent as bytes, by its content type.
type dataKind uint8

const (
	dataJSON   dataKind = iota // itself
	dataText                   // a JSON string
	dataBinary                 // a JSON string of its base64
)

// kindOfData: without a content type it is JSON.
func kindOfData(contentType string) dataKind {
	media := mediaType(contentType)
	family, subtype, _ := strings.Cut(media, "/")
	switch is := func(suffix string) bool { return subtype == suffix || strings.HasSuffix(subtype, "+"+suffix) }; {
	case media == "" || is("json"):
		return dataJSON
	case family == "text", is("xml"), is("yaml"), subtype == "x-www-form-urlencoded":
		return dataText
	default:
		return dataBinary
	}
}

// checkData finds out whether dataPayload gives what a function can read.
func checkData(contentType string, data []byte) error {
	kind := kindOfData(contentType)
	switch {
	case kind == dataBinary || isNoData(kind, data):
		return nil
	case kind == dataJSON:
		return CheckJSON(data)
	case !isUTF8(contentType) || !utf8.Valid(data):
		return refuse(ReasonEncoding, "the data is a text that is not UTF-8: send it as UTF-8, or with Content-Type: application/octet-stream")
	}
	return nil
}

// isUTF8 looks at the parameter charset.
func isUTF8(contentType string) bool {
	for p := range strings.SplitSeq(contentType, ";") {
		name, charset, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "charset") {
			charset = strings.ToLower(strings.Trim(charset, ` "`))
			return slices.Contains([]string{"utf-8", "utf8", "us-ascii"}, charset)
		}
	}
	return true
}

// isNoData: no JSON is empty, so an event of that kind has no data.
func isNoData(kind dataKind, data []byte) bool { return kind == dataJSON && len(data) == 0 }

// dataPayload is what a function gets of data that is sent as bytes.
func dataPayload(contentType string, data []byte) []byte {
	switch kind := kindOfData(contentType); {
	case isNoData(kind, data):
		return []byte("null")
	case kind == dataJSON:
		return data
	case kind == dataText:
		return quote(string(data))
	}
	return encode64(data)
}

// encode64 is a JSON string.
func encode64(data []byte) []byte {
	text := make([]byte, 1, 2+base64.StdEncoding.EncodedLen(len(data)))
	text[0] = '"'
	return append(base64.StdEncoding.AppendEncode(text, data), '"')
}
