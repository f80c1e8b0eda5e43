package trigger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// What a function gets, for Config.Payload.
const (
	PayloadLambda  = "lambda"  // what a Lambda function would get; of SNS: of S3 its own event, of all else that of SNS
	PayloadMessage = "message" // SNS: the JSON in Message, or Message as a JSON string
	PayloadRaw     = "raw"     // the request's body
)

// Events of DynamoDB streams, as aws/aws-lambda-go has them in events/dynamodb.go
// and the EventBridge user guide in "Amazon DynamoDB stream as a source for
// EventBridge Pipes". A Lambda function gets
//
//	{"Records":[{"eventID","eventName","eventSource":"aws:dynamodb","dynamodb":{…},…}]}
//
// and EventBridge Pipes sends [{…},…], or one {…}.
const sourceDynamoDB = "aws:dynamodb"

// maxRecords of one request, as each can be an event of its own. Firehose sends
// up to so many; Pipes and Lambda do as well.
const maxRecords = 10_000

// lambdaRecords is how deep records are in what a Lambda function gets.
const lambdaRecords = 2

func tooManyRecords() error {
	return refuse(ReasonMalformed, "there are more than %d records: send fewer at a time", maxRecords)
}

// eventOf makes the event of a request, with an event of each record if split.
type eventOf func(r Request, payload string, split bool) (Event, error)

// newPlain returns the Verifier of a sender that signs nothing and sends JSON.
func newPlain(cfg Config, usual auth, event eventOf) (Verifier, error) {
	a, err := newAuth(cfg, usual)
	if err != nil {
		return nil, err
	}
	switch cfg.Payload {
	case "", PayloadLambda, PayloadRaw:
	default:
		return nil, fmt.Errorf("unknown payload %q: use %s or %s", cfg.Payload, PayloadLambda, PayloadRaw)
	}
	return func(_ context.Context, r Request) (Event, error) {
		if err := a.check(r.Header); err != nil {
			return Event{}, err
		}
		if err := wantJSON(r.Header); err != nil {
			return Event{}, err
		}
		return event(r, cfg.Payload, cfg.Split)
	}, nil
}

// signPlain returns what such a sender sends along.
func signPlain(cfg Config, usual auth, agent string) (http.Header, error) {
	a, err := newAuth(cfg, usual)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", agent)
	a.sign(h)
	return h, nil
}

// awsObject is what an object of Amazon's, of whatever kind, says of itself.
type awsObject struct {
	body       []byte
	id         string      // of an event of EventBridge
	detailType string      // what happened, of an event of EventBridge
	eventID    string      // of a record
	eventName  string      // what happened, of a record
	source     string      // the eventSource of a record
	change     bool        // it has a member dynamodb
	records    []awsObject // of what a Lambda function gets
	several    bool        // it has records
}

func (o awsObject) isDynamoDB() bool { return o.change && o.source == sourceDynamoDB }

// name is what happened.
func (o awsObject) name() string {
	if o.detailType != "" {
		return o.detailType
	}
	return o.eventName
}

// awsValue takes any value; only an object says anything of itself.
func (s *scanner) awsValue() (awsObject, error) {
	var o awsObject
	if s.next() != '{' {
		body, err := s.raw()
		return awsObject{body: body}, err
	}
	start := s.pos
	err := s.fields(func(name string) error { return s.awsMember(name, &o) })
	o.body = s.data[start:s.pos]
	return o, err
}

func (s *scanner) awsMember(name string, o *awsObject) error {
	switch name {
	case "id":
		return s.into(&o.id)
	case "detail-type":
		return s.into(&o.detailType)
	case "eventID":
		return s.into(&o.eventID)
	case "eventName":
		return s.into(&o.eventName)
	case "eventSource":
		return s.into(&o.source)
	case "dynamodb":
		o.change = true
	case "Records":
		if s.next() == '[' && s.depth == 1 {
			return s.awsRecords(o)
		}
	}
	return s.value()
}

func (s *scanner) awsRecords(o *awsObject) (err error) {
	o.several = true
	o.records, err = s.awsArray()
	return err
}

// awsArray takes an array.
func (s *scanner) awsArray() (all []awsObject, err error) {
	err = s.elements(func() error {
		if len(all) == maxRecords {
			return tooManyRecords()
		}
		o, err := s.awsValue()
		all = append(all, o)
		return err
	})
	return all, err
}

// commonName is what happened, when it is the same for all.
func commonName(all []awsObject) string {
	if len(all) == 0 {
		return ""
	}
	name := all[0].name()
	for _, o := range all {
		if o.name() != name {
			return ""
		}
	}
	return name
}

// allDynamoDB says whether these are records of DynamoDB, and nothing else.
func allDynamoDB(all []awsObject) bool {
	for _, o := range all {
		if !o.isDynamoDB() {
			return false
		}
	}
	return len(all) > 0
}

// eventIDs is the identity of records by their ids, "" when one has none.
func eventIDs(all []awsObject) string {
	if len(all) == 1 {
		return all[0].eventID
	}
	ids := make([]string, len(all))
	for i, o := range all {
		if ids[i] = o.eventID; o.eventID == "" {
			return ""
		}
	}
	return digest("events", ids...)
}

// split makes a Record of each of several objects. whole is the identity of all
// together.
func split(all []awsObject, whole string, body func(awsObject) []byte) []Record {
	records := make([]Record, 0, len(all))
	for i, o := range all {
		identity := cmp.Or(o.eventID, whole+"/"+strconv.Itoa(i))
		records = append(records, Record{Name: o.name(), Identity: identity, Body: body(o)})
	}
	return distinct(records)
}

// distinct leaves out what is there twice, as its identity says.
func distinct(records []Record) []Record {
	seen := map[string]bool{}
	return slices.DeleteFunc(records, func(r Record) bool {
		again := seen[r.Identity]
		seen[r.Identity] = true
		return again
	})
}

// asRecord makes of a record what a Lambda function gets.
func asRecord(record []byte) []byte {
	return slices.Concat([]byte(`{"Records":[`), record, []byte(`]}`))
}

// asRecords is asRecord for a record or an array of them.
func asRecords(body []byte) []byte {
	if firstByte(body) != '[' {
		return asRecord(body)
	}
	return slices.Concat([]byte(`{"Records":`), body, []byte(`}`))
}

// firstByte is the first that is no white space, 0 when there is none.
func firstByte(body []byte) byte { return (&scanner{data: body}).next() }

// checkDepth is CheckJSON for a value that will stand some levels deep.
func checkDepth(body []byte, levels int) error {
	return checkDocument(body, func(s *scanner) error {
		s.depth = levels
		return s.value()
	})
}

// bodyIdentity is the identity of a request that brings no id: the same body is
// the same event.
func bodyIdentity(body []byte) string { return digest("body", body) }

// digest is an identity made of several texts, none of which it tells. A body is not
// copied for it.
func digest[T string | []byte](kind string, texts ...T) string {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d:", len(text))
		h.Write([]byte(text))
	}
	return kind + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}
