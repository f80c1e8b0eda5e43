package trigger

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// CloudEvents 1.0.2 over HTTP, as cloudevents/spec describes it in "HTTP Protocol
// Binding", "JSON Event Format" and "HTTP 1.1 Web Hooks":
//
//	POST, Authorization: Bearer <token>, or ?access_token=<token>
//
//	binary      Content-Type: that of the data, which is the body
//	            Ce-Specversion: 1.0, Ce-Id, Ce-Source, Ce-Type; Ce-Time, Ce-Subject and
//	            every other attribute likewise, percent-encoded
//	structured  Content-Type: application/cloudevents+json
//	            {"specversion": "1.0", "id", "source", "type", "time", …,
//	             "datacontenttype", "data": any JSON, or "data_base64": <base64>}
//	batched     Content-Type: application/cloudevents-batch+json
//	            [<structured>, …], which may be empty; only for those who asked for it
//
// There is no signature: the token is all the proof. source and id together are
// the same in every repeat of an event, and in no other event. How the sender asks
// whether it may send at all is in Consent.
const (
	structuredType = "application/cloudevents"
	batchedType    = "application/cloudevents-batch"
	jsonFormat     = "+json"

	accessToken = "access_token"

	// maxBatch is how many events Azure Event Grid puts into a batch at most.
	maxBatch = 5000
)

// The forms of stored events, see Event.Form.
const (
	formCloudEvent = "cloudevent"      // the body is the event in JSON
	formData       = "cloudevent-data" // the body is the data, the attributes are in the headers
)

func cloudEventsSender() sender {
	return sender{kind: CloudEvents, verifier: newCloudEvents, sign: signCloudEvents, sample: "cloudevents", nameHeader: attributeHeader("type")}
}

type cloudEvents struct {
	auth    *auth
	batched bool
}

func newCloudEvents(cfg Config, _ Fetch) (Verifier, error) {
	a, err := newAuth(cfg, auth{scheme: AuthBearer})
	if err != nil {
		return nil, err
	}
	c := &cloudEvents{a, cfg.Batched}
	return func(_ context.Context, r Request) (Event, error) {
		if err := c.authorize(r); err != nil {
			return Event{}, err
		}
		return c.event(r)
	}, nil
}

// authorize takes the token from the header or from the query, but not from both
// (RFC 6750, section 2).
func (c *cloudEvents) authorize(r Request) error {
	tokens := r.Query[accessToken]
	switch {
	case len(c.auth.secrets) == 0:
		return nil
	case len(tokens) == 0:
		return c.auth.check(r.Header)
	case len(tokens) > 1 || len(r.Header["Authorization"]) > 0:
		return refuse(ReasonForged, "the token is there twice: send it in the header Authorization or in the query, once")
	case tokens[0] == "":
		return refuse(ReasonUnsigned, "the token in the query is empty")
	case !isSecret(tokens[0], c.auth.wanted()):
		return refuse(ReasonForged, "the token in the query is wrong: check it on both sides, and that it is URL-encoded")
	}
	return nil
}

// event tells the mode by the content type. The media type of a batch begins like
// that of a single event.
func (c *cloudEvents) event(r Request) (Event, error) {
	media := mediaType(r.Header.Get("Content-Type"))
	format, batched := strings.CutPrefix(media, batchedType)
	if !batched {
		var structured bool
		if format, structured = strings.CutPrefix(media, structuredType); !structured {
			return binaryEvent(r)
		}
	}
	switch {
	case format != jsonFormat:
		return Event{}, refuse(ReasonContentType, "the events are in a format that is not known here: send them as JSON, or in binary mode")
	case !batched:
		return structuredEvent(r.Body)
	case !c.batched:
		return Event{}, refuse(ReasonContentType, "this trigger takes no batches: send single events, or say batch: true in the manifest")
	}
	return batchedEvents(r.Body)
}

func structuredEvent(body []byte) (Event, error) {
	e, err := readCloudEvent(body)
	if err != nil {
		return Event{}, err
	}
	return Event{Name: e.name, Identity: e.identity(), Answer: AnswerStored, Form: formCloudEvent}, nil
}

func batchedEvents(body []byte) (Event, error) {
	elements, err := batch(body)
	if err != nil {
		return Event{}, err
	}
	records := make([]Record, len(elements)) // never nil: without an event there is nothing to store
	for i, element := range elements {
		e, err := readCloudEvent(element)
		if err != nil {
			return Event{}, inBatch(i, err)
		}
		records[i] = Record{Name: e.name, Identity: e.identity(), Form: formCloudEvent, Body: element}
	}
	return Event{Answer: AnswerStored, Records: records}, nil
}

// inBatch says which event of a batch is refused.
func inBatch(i int, err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refuse(refusal.Reason, "event %d of the batch, counted from 1: %s", i+1, refusal.Detail)
	}
	return err
}

// batch returns the elements of an array.
func batch(body []byte) (elements [][]byte, err error) {
	err = readDocument(body, func(s *scanner) error {
		return s.elements(func() error {
			if len(elements) == maxBatch {
				return refuse(ReasonMalformed, "the batch has more than %d events: send smaller ones", maxBatch)
			}
			element, err := s.raw()
			elements = append(elements, element)
			return err
		})
	})
	return elements, err
}

// signCloudEvents sends a body that is an event, or a batch where the trigger takes
// batches, as it is. Any other body is the data of an event in binary mode.
func signCloudEvents(cfg Config, body []byte, now time.Time) (http.Header, error) {
	h := http.Header{}
	(&auth{scheme: AuthBearer, secrets: cfg.Secrets}).sign(h)
	switch {
	case cfg.Batched && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte{'['}):
		h.Set("Content-Type", batchedType+jsonFormat)
	case topLevel(body, "specversion")[0]:
		h.Set("Content-Type", structuredType+jsonFormat)
	default:
		h.Set("Content-Type", "application/json")
		for name, value := range map[string]string{
			"specversion": specVersion, "id": newGUID(), "source": "/example/shop", "type": "com.example.order.created",
			"time": now.UTC().Format(time.RFC3339),
		} {
			h.Set(attributeHeader(name), value)
		}
	}
	return h, nil
}
