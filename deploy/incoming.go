package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// MaxFilterPayload is how large a payload may be, in bytes, that filters look
// into. Decoded it takes many times as much memory.
const MaxFilterPayload = 4 << 20

// Incoming is an event as filters see it. One goroutine uses it at a time.
type Incoming struct {
	Event       string            // its name, as the sender calls it
	Source      string            // of the trigger that it came through
	Header      map[string]string // the headers that are kept with it, in any case
	ContentType string            // of Body
	Form        string            // how the payload is made of Body
	Body        []byte            // as it was received

	payload any // decoded, once a filter has asked for it
	failed  error
	asked   bool
	headers map[string]string // by names in lower case, likewise
}

// decode returns the payload that the function would get, as JSON is in Go,
// with whole numbers as int64. The error is a *FilterError.
func (in *Incoming) decode() (any, error) {
	if !in.asked {
		in.asked = true
		in.payload, in.failed = decodePayload(in.Form, in.ContentType, in.Body)
	}
	return in.payload, in.failed
}

func decodePayload(form, contentType string, body []byte) (any, error) {
	payload, err := trigger.Payload(form, contentType, body)
	if err != nil {
		return nil, &FilterError{Reason: "the payload cannot be made of the body", Detail: err.Error()}
	}
	if len(payload) > MaxFilterPayload {
		return nil, &FilterError{Reason: fmt.Sprintf("the payload has %d bytes, filters look into %d at most", len(payload), MaxFilterPayload)}
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, &FilterError{Reason: "the payload is no JSON", Detail: err.Error()}
	}
	return withNumbers(v), nil
}

// withNumbers replaces the texts of numbers by their values: ids of senders are
// whole numbers that do not fit into a float64.
func withNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return number(v.String())
	case []any:
		for i := range v {
			v[i] = withNumbers(v[i])
		}
	case map[string]any:
		for key, value := range v {
			v[key] = withNumbers(value)
		}
	}
	return v
}

func number(s string) any {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i
	}
	f, _ := strconv.ParseFloat(s, 64) // it is a number: the error is that it is too large, which f says too
	return f
}

// lowered are the headers, by names in lower case.
func (in *Incoming) lowered() map[string]string {
	if in.headers == nil {
		in.headers = make(map[string]string, len(in.Header)+1)
		for name, value := range in.Header {
			in.headers[strings.ToLower(name)] = value
		}
		if in.ContentType != "" {
			in.headers["content-type"] = in.ContentType
		}
	}
	return in.headers
}

// each visits what is at a path of members, such as "push.changes.new.name". Of
// a list on the way it visits what is there in each element.
func each(v any, path string, visit func(any)) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			each(element, path, visit)
		}
		return
	case map[string]any:
		if path != "" {
			first, rest, _ := strings.Cut(path, ".")
			each(v[first], rest, visit)
			return
		}
	}
	if path == "" && v != nil {
		visit(v)
	}
}

// textsAt are the texts at a path.
func textsAt(v any, path string) (texts []string) {
	each(v, path, func(found any) {
		if s, ok := found.(string); ok {
			texts = append(texts, s)
		}
	})
	return texts
}

// textAt is the first text at a path, "" when there is none.
func textAt(v any, path string) string {
	for _, s := range textsAt(v, path) {
		return s
	}
	return ""
}
