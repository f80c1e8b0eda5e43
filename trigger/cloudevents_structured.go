package trigger

import "encoding/base64"

// The members of an event in JSON on which something depends here.
const (
	eventVersion = iota
	eventID
	eventSource
	eventType
	eventContentType
	eventData
	eventData64
)

var eventShape = []member{
	{name: "specversion", index: eventVersion},
	{name: "id", index: eventID},
	{name: "source", index: eventSource},
	{name: "type", index: eventType},
	{name: "datacontenttype", index: eventContentType},
	{name: "data", index: eventData},
	{name: "data_base64", index: eventData64},
}

// cloudEvent is an event in JSON.
type cloudEvent struct {
	id, source, name string
	contentType      string // "" where the event says none
	data             []byte // the value of data as it stands there; nil for none
	bytes            []byte // what data_base64 holds; nil where it is not there
}

func (e *cloudEvent) identity() string { return identityOf(e.source, e.id) }

// payload is what a function gets unless it wants the whole event.
func (e *cloudEvent) payload() []byte {
	switch {
	case e.bytes != nil:
		return dataPayload(e.bytesType(), e.bytes)
	case e.data != nil:
		return e.data
	}
	return []byte("null")
}

// bytesType: JSON is implied where there is no content type, but not for what is
// sent as bytes.
func (e *cloudEvent) bytesType() string {
	if e.contentType == "" {
		return "application/octet-stream"
	}
	return e.contentType
}

// readCloudEvent checks an event in JSON, as readShape does, and that a function
// can read its payload. A null is as good as no member.
func readCloudEvent(body []byte) (cloudEvent, error) {
	values, err := readMembers(body, eventShape)
	if err != nil {
		return cloudEvent{}, err
	}
	for i := range values {
		if string(values[i]) == "null" {
			values[i] = nil
		}
	}
	return cloudEventOf(values)
}

func cloudEventOf(values [][]byte) (cloudEvent, error) {
	var texts [eventContentType + 1]string
	for i := range texts {
		text, ok := attributeText(values[i])
		switch {
		case !ok:
			return cloudEvent{}, refuse(ReasonMalformed, "the member %q must be a string without control characters, up to %d bytes", eventShape[i].name, maxAttribute)
		case text == "" && i != eventContentType:
			return cloudEvent{}, refuse(ReasonMalformed, "the member %q is missing or empty", eventShape[i].name)
		}
		texts[i] = text
	}
	e := cloudEvent{id: texts[eventID], source: texts[eventSource], name: texts[eventType], contentType: texts[eventContentType], data: values[eventData]}
	if err := checkRequired(texts[eventVersion], e.id, e.name); err != nil {
		return cloudEvent{}, err
	}
	return e, e.decode(values[eventData64])
}

// attributeText decodes a JSON string; no value is "".
func attributeText(value []byte) (text string, ok bool) {
	if value == nil {
		return "", true
	}
	if value[0] != '"' || len(value) > maxAttribute*len(`\u0000`) {
		return "", false
	}
	text = unquoteJSON(value)
	return text, isAttributeText(text)
}

func unquoteJSON(value []byte) string {
	var s scanner
	return string(s.unescape(value[1 : len(value)-1]))
}

// decode reads the value of data_base64.
func (e *cloudEvent) decode(value []byte) error {
	if value == nil {
		return nil
	}
	if e.data != nil {
		return refuse(ReasonMalformed, "the event has both data and data_base64: send one of them")
	}
	if value[0] != '"' {
		return refuse(ReasonMalformed, "data_base64 must be a string")
	}
	data, err := base64.StdEncoding.DecodeString(unquoteJSON(value))
	if err != nil {
		return refuse(ReasonMalformed, "data_base64 is not base64 as RFC 4648 has it in section 4")
	}
	e.bytes = data
	return checkData(e.bytesType(), data)
}

// structuredPayload is what a function gets of a stored event in JSON.
func structuredPayload(body []byte) ([]byte, error) {
	e, err := readCloudEvent(body)
	if err != nil {
		return nil, err
	}
	return e.payload(), nil
}

// withData puts other data into an event in JSON, and keeps the rest as it stands there.
func withData(body, data []byte) ([]byte, error) {
	out, err := appendMembers([]byte{'{'}, body, func(name []byte) bool { return string(name) != "data" && string(name) != "data_base64" })
	return append(appendMember(out, []byte("data"), data), '}'), err
}
