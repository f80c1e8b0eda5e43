package trigger

import (
	"maps"
	"net/url"
	"slices"
	"time"
)

// Stored is what is known of a stored event of any sender.
type Stored struct {
	ID          string            // the same in every attempt and replay
	Source      string            // the trigger it came through, as text
	Name        string            // see Event
	Form        string            // see Event
	Time        time.Time         // when it was accepted; zero when that is not known
	ContentType string            // of Body
	Header      map[string]string // see Event; names in canonical form
	Body        []byte            // as it was received
	Traceparent string            // the attempt, as W3C Trace Context writes it; "" when it is not traced
	Tracestate  string            // likewise
}

// namelessType is the type of an event whose sender has no name for it.
const namelessType = "funker.request"

// PayloadCloudEvent is PayloadMembers for a function that gets its payload as the
// data of a CloudEvent in JSON. An event that came as a CloudEvent keeps all its
// attributes; in JSON and with names nil it is the stored event byte for byte. Any
// other has these:
//
//	id               e.ID
//	source           "/" and e.Source, percent-encoded: a URI-reference
//	type             e.Name, or "funker.request" when it has none
//	time             e.Time in UTC with milliseconds; left out when it is zero
//	traceparent      e.Traceparent, and tracestate with e.Tracestate; left out when
//	                 they are "": the extension for distributed tracing
//	datacontenttype  application/json
func PayloadCloudEvent(e Stored, names []string) ([]byte, error) {
	data, err := PayloadMembers(e.Form, e.ContentType, e.Body, names)
	switch {
	case err != nil:
		return nil, err
	case e.Form == formData:
		return binaryEnvelope(e, data)
	case e.Form != formCloudEvent:
		return ownEnvelope(e, data), nil
	case names == nil:
		return e.Body, nil
	}
	return withData(e.Body, data)
}

func ownEnvelope(e Stored, data []byte) []byte {
	a := map[string]string{
		"specversion": specVersion, "id": e.ID, "source": "/" + url.PathEscape(e.Source), "type": e.Name, "datacontenttype": "application/json",
	}
	if e.Name == "" {
		a["type"] = namelessType
	}
	if !e.Time.IsZero() {
		a["time"] = e.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if e.Traceparent != "" {
		a["traceparent"] = e.Traceparent
		if e.Tracestate != "" {
			a["tracestate"] = e.Tracestate
		}
	}
	return envelope(a, "data", data)
}

func binaryEnvelope(e Stored, data []byte) ([]byte, error) {
	a, err := attributes(e.Header)
	if err != nil {
		return nil, err
	}
	if e.ContentType != "" {
		a["datacontenttype"] = e.ContentType
	}
	switch kind := kindOfData(e.ContentType); {
	case isNoData(kind, e.Body):
		return envelope(a, "", nil), nil
	case kind == dataBinary:
		return envelope(a, "data_base64", data), nil
	}
	return envelope(a, "data", data), nil
}

// envelope is an event in JSON: first what all have, then the other attributes by
// their names, and the data last, unless its name is "".
func envelope(attributes map[string]string, name string, data []byte) []byte {
	first := []string{"specversion", "id", "source", "type", "time"}
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(attributes)), func(name string) bool { return slices.Contains(first, name) })
	out := append(make([]byte, 0, 512+len(data)), '{')
	for _, a := range append(first, others...) {
		if value, given := attributes[a]; given {
			out = appendMember(out, []byte(a), quote(value))
		}
	}
	if name != "" {
		out = appendMember(out, []byte(name), data)
	}
	return append(out, '}')
}
