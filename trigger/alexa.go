package trigger

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Alexa custom skills, as developer.amazon.com describes them in "Host a Custom
// Skill as a Web Service" and "Request and Response JSON Reference":
//
//	POST, Content-Type application/json;charset=UTF-8
//	SignatureCertChainUrl: https://s3.amazonaws.com/echo.api/<file>   a chain, in PEM
//	Signature-256: <base64 of RSA PKCS #1 v1.5, SHA-256, of the raw body>
//	{"version": "1.0",
//	 "context": {"System": {"application": {"applicationId": <skill id>}, …}},
//	 "session": {"application": {"applicationId": <skill id>}, …},
//	 "request": {"type": "IntentRequest", "requestId": …, "timestamp": …,
//	             "intent": {"name": "HelloIntent", "slots": {…}}}}
//
// session is missing where there is no conversation (AudioPlayer, skill events).
// context is in every request since 2017; requests before that had only session.
// The skill id must be right in each of the two that is there: checking only
// session would let everything without a session pass.
//
// The signature is checked as alexa_cert.go says. What costs nothing is checked
// before it, so that only who knows the skill makes us fetch or calculate. The
// older header Signature (SHA-1) proves nothing here. Amazon wants 400 for every
// request that fails.
const (
	alexaContext = iota
	alexaSystem
	alexaContextApp
	alexaContextID
	alexaSession
	alexaSessionApp
	alexaSessionID
	alexaRequest
	alexaType
	alexaRequestID
	alexaTimestamp
	alexaIntent
	alexaIntentName
	alexaFields
)

var alexaShape = []member{
	{"context", alexaContext, []member{
		{"System", alexaSystem, []member{
			{"application", alexaContextApp, []member{{"applicationId", alexaContextID, nil}}}}}}},
	{"session", alexaSession, []member{
		{"application", alexaSessionApp, []member{{"applicationId", alexaSessionID, nil}}}}},
	{"request", alexaRequest, []member{
		{"type", alexaType, nil},
		{"requestId", alexaRequestID, nil},
		{"timestamp", alexaTimestamp, nil},
		{"intent", alexaIntent, []member{{"name", alexaIntentName, nil}}}}},
}

type alexaEnvelope [alexaFields]found

func alexaSender() sender {
	return sender{kind: Alexa, verifier: newAlexa, sign: signAlexa, sample: "alexa"}
}

func newAlexa(cfg Config, fetch Fetch) (Verifier, error) {
	skills, signed := cfg.SkillIDs, !cfg.IDOnly && !cfg.Insecure
	switch {
	case slices.Contains(skills, ""):
		return nil, errors.New("a skill id is empty")
	case len(skills) == 0 && !cfg.Insecure:
		return nil, fmt.Errorf("%w: give it the skill's id, or say insecure: true", ErrUnverified)
	case signed && fetch == nil:
		return nil, fmt.Errorf("%w: there is no way to fetch Amazon's certificates", ErrUnverified)
	}
	amazon := newAlexaSignature(cfg, fetch)
	return func(ctx context.Context, r Request) (Event, error) {
		e, err := readAlexa(skills, r)
		if err == nil && signed {
			err = amazon.check(ctx, e, r)
		}
		if err != nil {
			return Event{}, err
		}
		return e.event(r.Body)
	}, nil
}

// readAlexa checks all but the signature and the time.
func readAlexa(skills []string, r Request) (*alexaEnvelope, error) {
	if err := wantJSON(r.Header); err != nil {
		return nil, err
	}
	var e alexaEnvelope
	if err := readShape(r.Body, alexaShape, e[:]); err != nil {
		return nil, err
	}
	if len(skills) == 0 {
		return &e, nil
	}
	return &e, e.checkSkill(skills)
}

func (e *alexaEnvelope) checkSkill(skills []string) error {
	system, session := &e[alexaContextID], &e[alexaSessionID]
	switch {
	case !e[alexaContext].given && !e[alexaSession].given:
		return refuse(ReasonMalformed, "the request has neither context nor session")
	case e[alexaContext].given && !system.given:
		return refuse(ReasonMalformed, "context.System.application.applicationId is missing")
	case e[alexaSession].given && !session.given:
		return refuse(ReasonMalformed, "session.application.applicationId is missing")
	case system.given && session.given && system.text != session.text:
		return refuse(ReasonWrongSkill, "context and session name different skills")
	}
	id := system.text
	if !system.given {
		id = session.text
	}
	if !isOneOf(skills, id) {
		return refuse(ReasonWrongSkill, "the request is for another skill: add its id to the trigger if that is wrong")
	}
	return nil
}

// isOneOf compares in constant time, because with IDOnly the id is a password.
func isOneOf(skills []string, id string) bool {
	equal := 0
	for _, skill := range skills {
		equal |= subtle.ConstantTimeCompare([]byte(skill), []byte(id))
	}
	return equal == 1
}

func (e *alexaEnvelope) event(body []byte) (Event, error) {
	kind, intent := e[alexaType].text, e[alexaIntentName].text
	if kind == "" {
		return Event{}, refuse(ReasonMalformed, "request.type is missing")
	}
	if intent == "" && (kind == "IntentRequest" || kind == "CanFulfillIntentRequest") {
		return Event{}, refuse(ReasonMalformed, "request.intent.name is missing")
	}
	return Event{
		Name:     kind,
		Intent:   intent,
		Identity: e[alexaRequestID].text,
		Answer:   alexaAnswer(kind),
		Speech:   alexaSpeaks(kind),
		Warning:  alexaWarning(kind, body),
	}, nil
}

// alexaAnswer: to these Alexa takes no reply but an empty one, so nobody waits.
func alexaAnswer(kind string) Answer {
	if kind == "SessionEndedRequest" || strings.HasPrefix(kind, "AlexaSkillEvent.") {
		return AnswerStored
	}
	return AnswerReply
}

// alexaSpeaks: no speech is taken in reply to what arrives outside of a
// conversation, after its end, or, for CanFulfillIntentRequest, before it.
func alexaSpeaks(kind string) bool {
	group, _, _ := strings.Cut(kind, ".")
	switch group {
	case "SessionEndedRequest", "CanFulfillIntentRequest",
		"AudioPlayer", "PlaybackController", "System",
		"AlexaSkillEvent", "AlexaHouseholdListEvent", "Reminders", "Messaging":
		return false
	default:
		return !strings.HasPrefix(kind, "Alexa.DataStore.")
	}
}

// alexaWarning: the end of a session is the only place where Alexa tells that an
// earlier reply was late or not to its taste.
func alexaWarning(kind string, body []byte) string {
	if kind != "SessionEndedRequest" {
		return ""
	}
	var e struct {
		Request struct {
			Reason string
			Error  struct{ Type string }
		}
	}
	if json.Unmarshal(body, &e) != nil || e.Request.Reason != "ERROR" || !isName(e.Request.Error.Type) {
		return ""
	}
	return "Alexa ended a session because of an error: " + e.Request.Error.Type
}

func signAlexa(cfg Config, body []byte, _ time.Time) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Accept", "application/json")
	if cfg.IDOnly || cfg.Insecure {
		return h, nil
	}
	return h, signForTest(h, cfg, body)
}
