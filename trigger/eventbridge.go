package trigger

import (
	"bytes"
	"net/http"
	"time"
)

// EventBridge API destinations, as the EventBridge user guide describes them in
// "API destinations as targets" and "Connections for HTTP endpoint targets":
//
//	POST, Content-Type application/json; charset=utf-8
//	one of <any header>: <key>, Authorization: Basic …, Authorization: Bearer …
//
// Nothing is signed, and there is no time to check. The body is an event of
// EventBridge
//
//	{"version","id","detail-type","source","account","time","region","resources","detail"}
//
// unless an input transformer made something else of it: any JSON is fine.
// EventBridge Pipes sends records of its source, such as a DynamoDB stream, as an
// array or one by one. What is sent again has the same id.

// eventBridgeAuth is what it is unless something else is configured.
var eventBridgeAuth = auth{scheme: AuthAPIKey, header: "X-Api-Key"}

// formRecords is a body that is a record of DynamoDB or an array of them.
const formRecords = "records"

func eventBridgeSender() sender {
	return sender{kind: EventBridge, verifier: newEventBridge, sign: signEventBridge, sample: "eventbridge"}
}

func newEventBridge(cfg Config, _ Fetch) (Verifier, error) {
	return newPlain(cfg, eventBridgeAuth, eventBridgeEvent)
}

func eventBridgeEvent(r Request, payload string, divided bool) (Event, error) {
	b, err := readEventBridge(r.Body)
	if err != nil {
		return Event{}, err
	}
	raw := payload == PayloadRaw
	e := Event{Name: b.name(), Identity: b.identity(), Answer: AnswerStored}
	switch {
	case divided && b.several:
		e.Records = split(b.all, bodyIdentity(r.Body), func(o awsObject) []byte { return b.record(o, raw) })
		if len(e.Records) == 0 {
			e.Answer = AnswerControl
		}
	case !raw && b.isChanges():
		e.Form = formRecords
	default:
		return e, nil
	}
	return e, checkDepth(r.Body, lambdaRecords)
}

// eventBridgeBody is a value, or the values of an array or of Records.
type eventBridgeBody struct {
	whole   []byte
	all     []awsObject
	several bool
	lambda  bool // they stand in Records, as a Lambda function gets them
}

func readEventBridge(body []byte) (b eventBridgeBody, err error) {
	b.whole = body
	err = readDocument(body, func(s *scanner) (err error) {
		if s.next() == '[' {
			b.several = true
			b.all, err = s.awsArray()
			return err
		}
		o, err := s.awsValue()
		b.all = []awsObject{o}
		if o.several {
			b.all, b.several, b.lambda = o.records, true, true
		}
		return err
	})
	return b, err
}

// isChanges says whether these are records of DynamoDB, not yet as a Lambda function gets them.
func (b eventBridgeBody) isChanges() bool { return !b.lambda && allDynamoDB(b.all) }

func (b eventBridgeBody) name() string { return commonName(b.all) }

func (b eventBridgeBody) identity() string {
	if !b.several && b.all[0].id != "" {
		return b.all[0].id
	}
	if ids := eventIDs(b.all); ids != "" && allDynamoDB(b.all) {
		return ids
	}
	return bodyIdentity(b.whole)
}

// record is what a function gets of one of several.
func (b eventBridgeBody) record(o awsObject, raw bool) []byte {
	if raw || !b.lambda && !o.isDynamoDB() {
		return bytes.Clone(o.body)
	}
	return asRecord(o.body)
}

func signEventBridge(cfg Config, _ []byte, _ time.Time) (http.Header, error) {
	return signPlain(cfg, eventBridgeAuth, "Amazon/EventBridge/ApiDestinations")
}
