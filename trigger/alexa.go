package trigger

import (
	"crypto/subtle"
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
		{"intent", alexaIntent, []member{{"name", alexaIntentName, nil}}}}},
}

type alexaEnvelope [alexaFields]found

func newAlexa(cfg Config) (Verifier, error) {
	skills := slices.Clone(cfg.SkillIDs)
	switch {
	case slices.Contains(skills, ""):
		return nil, errors.New("a skill id is empty")
	case cfg.Insecure:
	case len(skills) == 0:
		return nil, fmt.Errorf("%w: give it a skill id and verify: id-only, or say insecure: true", ErrUnverified)
	case !cfg.IDOnly:
		return nil, fmt.Errorf("%w: Amazon's certificates are not checked yet, so say verify: id-only to trust the skill id alone, or insecure: true", ErrUnverified)
	}
	return func(r Request) (Event, error) { return verifyAlexa(skills, r) }, nil
}

func verifyAlexa(skills []string, r Request) (Event, error) {
	if !isJSON(mediaType(r.Header.Get("Content-Type"))) {
		return Event{}, refuse(ReasonContentType, "the body is not JSON: send it with Content-Type: application/json")
	}
	var e alexaEnvelope
	if err := readShape(r.Body, alexaShape, e[:]); err != nil {
		return Event{}, err
	}
	if len(skills) > 0 {
		if err := e.checkSkill(skills); err != nil {
			return Event{}, err
		}
	}
	return e.event()
}

func (e *alexaEnvelope) checkSkill(skills []string) error {
	context, session := &e[alexaContextID], &e[alexaSessionID]
	switch {
	case !e[alexaContext].given && !e[alexaSession].given:
		return refuse(ReasonMalformed, "the request has neither context nor session")
	case e[alexaContext].given && !context.given:
		return refuse(ReasonMalformed, "context.System.application.applicationId is missing")
	case e[alexaSession].given && !session.given:
		return refuse(ReasonMalformed, "session.application.applicationId is missing")
	case context.given && session.given && context.text != session.text:
		return refuse(ReasonWrongSkill, "context and session name different skills")
	}
	id := context.text
	if !context.given {
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

func (e *alexaEnvelope) event() (Event, error) {
	kind, intent := e[alexaType].text, e[alexaIntentName].text
	if kind == "" {
		return Event{}, refuse(ReasonMalformed, "request.type is missing")
	}
	if intent == "" && (kind == "IntentRequest" || kind == "CanFulfillIntentRequest") {
		return Event{}, refuse(ReasonMalformed, "request.intent.name is missing")
	}
	return Event{
		Name:       kind,
		Intent:     intent,
		DeliveryID: e[alexaRequestID].text,
		Answer:     alexaAnswer(kind),
		Speech:     alexaSpeaks(kind),
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

func signAlexa(Config, []byte, time.Time) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Accept", "application/json")
	return h
}
