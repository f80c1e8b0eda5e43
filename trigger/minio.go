package trigger

import (
	"bytes"
	"cmp"
	"net/http"
	"time"
)

// MinIO's webhook target, as its documentation describes it in "Publish Events to
// Webhook", and RustFS, which sends the same:
//
//	POST, Content-Type application/json
//	Authorization: <auth_token> when that is two words, such as Bearer and a key;
//	               Bearer <auth_token> when it is one
//
//	{"EventName":"s3:ObjectCreated:Put","Key":"<bucket>/<key>","Records":[{…}]}
//
// Nothing is signed, and there is no time to check. A record is that of Amazon S3
// with eventSource "minio:s3", with s3: before the eventName, and with an awsRegion
// that is "" unless MinIO has one. What is sent again is the same, byte for byte.
// RustFS asks with HEAD / whether anybody is here.

// formS3 is a body of MinIO that becomes an event of Amazon S3.
const formS3 = "s3"

func minIOSender(kind string) sender {
	return sender{kind: kind, verifier: newMinIO, sign: signMinIO, sample: "minio"}
}

var minIOAuth = auth{scheme: AuthAPIKey, header: "Authorization"}

func newMinIO(cfg Config, _ Fetch) (Verifier, error) {
	cfg.Secrets = minIOTokens(cfg.Secrets)
	return newPlain(cfg, minIOAuth, minIOEvent)
}

// minIOTokens are the values of Authorization that are good: before each other one
// that MinIO itself would send.
func minIOTokens(secrets []Secret) []Secret {
	var tokens []Secret
	for _, s := range secrets {
		bearer := append(Secret("Bearer "), s...)
		if bytes.ContainsRune(s, ' ') {
			tokens = append(tokens, s, bearer)
		} else {
			tokens = append(tokens, bearer, s)
		}
	}
	return tokens
}

func minIOEvent(r Request, payload string, divided bool) (Event, error) {
	b, err := readMinIO(r.Body)
	if err != nil {
		return Event{}, err
	}
	lambda := payload == PayloadLambda
	e := Event{Name: b.name, Identity: b.identity(r.Body), Answer: AnswerStored}
	switch {
	case divided:
		e.Records, err = b.split(lambda)
	case lambda:
		e.Form = formS3
	}
	return e, err
}

// minIOBody is what is in a request.
type minIOBody struct {
	name    string
	records []s3Record
}

func readMinIO(body []byte) (*minIOBody, error) {
	b := &minIOBody{}
	err := readDocument(body, func(s *scanner) error {
		return s.fields(func(name string) error { return b.member(s, name) })
	})
	if err != nil {
		return nil, err
	}
	if b.name == "" || len(b.records) == 0 {
		return nil, refuse(ReasonMalformed, "the body needs EventName and Records")
	}
	return b, nil
}

func (b *minIOBody) member(s *scanner, name string) (err error) {
	switch name {
	case "EventName":
		return s.into(&b.name)
	case "Records":
		b.records, err = s.s3Records()
		return err
	}
	return s.value()
}

// identity is that of the change: MinIO's request ids change with each attempt.
func (b *minIOBody) identity(body []byte) string {
	ids := make([]string, len(b.records))
	for i, r := range b.records {
		if ids[i] = r.identity(); ids[i] == "" {
			return bodyIdentity(body)
		}
	}
	if len(ids) == 1 {
		return ids[0]
	}
	return digest("objects", ids...)
}

func (b *minIOBody) split(lambda bool) ([]Record, error) {
	records := make([]Record, len(b.records))
	for i, r := range b.records {
		body := bytes.Clone(r.body)
		if lambda {
			normal, err := r.normal()
			if err != nil {
				return nil, err
			}
			body = asRecord(normal)
		}
		records[i] = Record{Name: r.name, Identity: cmp.Or(r.identity(), bodyIdentity(r.body)), Body: body}
	}
	return distinct(records), nil
}

// s3Payload is the event of Amazon S3 that says what a body of MinIO says.
func s3Payload(body []byte) ([]byte, error) {
	b, err := readMinIO(body)
	if err != nil {
		return nil, err
	}
	normal := make([][]byte, len(b.records))
	for i, r := range b.records {
		if normal[i], err = r.normal(); err != nil {
			return nil, err
		}
	}
	return asRecord(bytes.Join(normal, []byte{','})), nil
}

func signMinIO(cfg Config, _ []byte, _ time.Time) (http.Header, error) {
	cfg.Secrets = minIOTokens(cfg.Secrets)
	return signPlain(cfg, minIOAuth, "MinIO (sample)")
}
