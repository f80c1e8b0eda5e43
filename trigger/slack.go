package trigger

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Slack, as docs.slack.dev describes it in "Verifying requests from Slack", "The
// Events API", "Implementing slash commands" and "Handling user interaction":
//
//	POST
//	X-Slack-Request-Timestamp: 1531420618
//	X-Slack-Signature: v0=<hex HMAC-SHA256 of v0:timestamp:body, key = signing secret>
//	X-Slack-Retry-Num, X-Slack-Retry-Reason     when an event is repeated
//
// There are three kinds of body. An event is JSON:
//
//	{"type": "event_callback", "event_id": "Ev…", "event": {"type": "app_mention", …}}
//	{"type": "url_verification", "challenge": …}     wants the challenge back
//
// A slash command is a form (token=…&command=%2Fdeploy&text=…). An interaction,
// such as a pressed button, is a form with JSON in its field payload. Slack shows
// the answer to both of them to the user, so it has to be empty.
const (
	slackSignature = "X-Slack-Signature"
	slackTime      = "X-Slack-Request-Timestamp"
	slackVersion   = "v0"

	slackChallenge = "url_verification"
)

const (
	slackTypeAt = iota
	slackChallengeAt
	slackEventIDAt
	slackEventAt
	slackEventTypeAt
	slackFields
)

var slackShape = []member{
	{"type", slackTypeAt, nil},
	{"challenge", slackChallengeAt, nil},
	{"event_id", slackEventIDAt, nil},
	{"event", slackEventAt, []member{{"type", slackEventTypeAt, nil}}},
}

// slackHeaders are the headers that are kept with the event.
var slackHeaders = []string{slackTime, "X-Slack-Retry-Num", "X-Slack-Retry-Reason"}

func slackSender() sender {
	return sender{Slack, newSlack, signSlack, "slack", "", "the signing secret of the app"}
}

func newSlack(cfg Config, _ Fetch) (Verifier, error) {
	return func(_ context.Context, r Request) (Event, error) {
		// Nothing of the body is parsed before this has passed.
		if err := checkSlack(cfg.Secrets, r); err != nil {
			return Event{}, err
		}
		e, err := slackEvent(r)
		if err == nil {
			e.Header, err = keep(r.Header, slackHeaders)
		}
		if err != nil {
			return Event{}, err
		}
		return e, nil
	}, nil
}

func checkSlack(secrets []Secret, r Request) error {
	if len(secrets) == 0 {
		return nil
	}
	timestamp, err := needed(r.Header, slackTime, "Slack signs all its requests")
	if err != nil {
		return err
	}
	signature, err := needed(r.Header, slackSignature, "Slack signs all its requests")
	if err != nil {
		return err
	}
	if err := checkSeconds(timestamp, r.Time); err != nil {
		return err
	}
	_, err = checkMAC(signature, slackVersion+"=", secrets, slackHead(timestamp), r.Body)
	return err
}

// slackHead is what is signed before the body.
func slackHead(timestamp string) []byte { return []byte(slackVersion + ":" + timestamp + ":") }

func slackEvent(r Request) (Event, error) {
	switch media := mediaType(r.Header.Get("Content-Type")); {
	case isJSON(media):
		return slackJSON(r.Body)
	case media == formType:
		return slackForm(r.Body)
	default:
		return Event{}, refuse(ReasonContentType, "the body is neither JSON nor a form: send it as Slack does")
	}
}

// slackJSON is an event of the Events API. Its id is the same in every repeat; the
// few that have none are the same when their bodies are.
func slackJSON(body []byte) (Event, error) {
	var s [slackFields]found
	if err := readShape(body, slackShape, s[:]); err != nil {
		return Event{}, err
	}
	e := Event{Name: cmp.Or(s[slackEventTypeAt].text, s[slackTypeAt].text), Identity: s[slackEventIDAt].text, Answer: AnswerStored}
	if e.Identity == "" {
		e.Identity = bodyIdentity(body)
	}
	switch challenge := s[slackChallengeAt].text; {
	case s[slackTypeAt].text == "":
		return Event{}, refuse(ReasonMalformed, `the member "type" is missing`)
	case s[slackTypeAt].text != slackChallenge:
		return e, nil
	case challenge == "":
		return Event{}, refuse(ReasonMalformed, `the member "challenge" is missing`)
	default:
		e.Answer, e.Reply = AnswerControl, fmt.Appendf(nil, `{"challenge":%s}`, quote(challenge))
		return e, nil
	}
}

// slackForm is a slash command or an interaction. Neither has an id, but each body
// has what is in no other: trigger_id.
func slackForm(body []byte) (Event, error) {
	fields, err := readForm(body)
	if err != nil {
		return Event{}, err
	}
	values := make(map[string]string, len(fields))
	for _, f := range fields {
		values[f.name] = f.value
	}
	e := Event{Identity: bodyIdentity(body), Answer: AnswerStored, Reply: []byte{}}
	switch payload, interaction := values["payload"]; {
	case interaction:
		e.Name, err = slackInteraction([]byte(payload))
	case values["command"] != "":
		e.Name, e.Form = values["command"], formFields
	case values["ssl_check"] != "":
		e.Name, e.Answer = "ssl_check", AnswerControl
	default:
		err = refuse(ReasonMalformed, "the form is neither a slash command nor an interaction: it has no field command and no field payload")
	}
	if err == nil && !isName(e.Name) {
		err = refuse(ReasonMalformed, "the command is longer than %d bytes or has control characters", maxName)
	}
	return e, err
}

func slackInteraction(payload []byte) (name string, err error) {
	var s [1]found
	if err := readShape(payload, []member{{"type", 0, nil}}, s[:]); err != nil {
		return "", err
	}
	if s[0].text == "" {
		return "", refuse(ReasonMalformed, `the member "type" is missing in the payload`)
	}
	return s[0].text, nil
}

func signSlack(cfg Config, body []byte, now time.Time) (http.Header, error) {
	h, timestamp := http.Header{}, strconv.FormatInt(now.Unix(), 10)
	h.Set("Content-Type", "application/json")
	if CheckJSON(body) != nil {
		h.Set("Content-Type", formType)
	}
	h.Set("User-Agent", "Slackbot 1.0 (sample)")
	h.Set(slackTime, timestamp)
	setMAC(h, slackSignature, slackVersion+"=", cfg.Secrets, slackHead(timestamp), body)
	return h, nil
}
