package ingress

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	contentJSON  = "application/json"
	contentText  = "text/plain; charset=utf-8"
	contentAlexa = "application/json;charset=UTF-8"
)

// manner is how a kind of sender has to be answered, where that differs from
// the usual: 202 with accepted, and the statuses of the table of errors.
type manner struct {
	success   int                          // status of all success; 0: 202 for events, 200 for the rest
	refuse    func(failure) failure        // changes a refusal; nil: as it is
	body      func(*exchange, failure) any // JSON of a refusal; nil: an errorBody
	final     string                       // header that tells the sender not to repeat what would be refused again; "": there is none
	challenge string                       // WWW-Authenticate of a 401
}

// manners are the kinds that differ.
var manners = map[string]manner{
	trigger.Alexa:    {refuse: refuseAlexa},
	trigger.Firehose: firehose,
	trigger.SNS:      {success: http.StatusOK, refuse: refuseSNS},
	trigger.Slack:    {success: http.StatusOK, final: "X-Slack-No-Retry"},
}

// manner of this trigger.
func (h *hook) manner() manner {
	if h.Kind == trigger.SNS && h.RawDelivery {
		// SNS sends its credentials when it is asked for them.
		return manner{success: http.StatusOK, refuse: refuseRawSNS, challenge: `Basic realm="funker"`}
	}
	return manners[h.Kind]
}

// refuseAlexa: Amazon's certification wants 400 for everything that is wrong with
// a request. So does a certificate that cannot be had: Alexa does not come again.
func refuseAlexa(f failure) failure {
	if f.status < http.StatusInternalServerError && f.code != codeMethod || f.code == code(trigger.ReasonUnfetched) {
		f.status, f.retry = http.StatusBadRequest, ""
	}
	return f
}

// refuseSNS: SNS takes every 4xx for delivered. So it gets one for what is proven
// to be somebody else's, and else 503, after which it comes again. SNS itself
// sends nothing but POST.
func refuseSNS(f failure) failure {
	switch {
	case isStranger(f.code):
		f.status, f.retry = http.StatusForbidden, ""
	case f.status < http.StatusInternalServerError && f.code != codeClientGone && f.code != codeMethod:
		f.status, f.retry = http.StatusServiceUnavailable, "20"
	}
	return f
}

func refuseRawSNS(f failure) failure {
	if f.code == code(trigger.ReasonUnsigned) || f.code == code(trigger.ReasonForged) {
		return f
	}
	return refuseSNS(f)
}

func isStranger(c string) bool {
	return c == code(trigger.ReasonUnsigned) || c == code(trigger.ReasonForged) || c == code(trigger.ReasonWrongTopic)
}

// What a sender is told of its events, besides "queued".
const (
	saidConnected = "connected"
	saidIgnored   = "ignored"
)

// accepted answers a request that is done, or will be later.
type accepted struct {
	ID        string `json:"id,omitempty"`
	Status    string `json:"status"`
	Duplicate bool   `json:"duplicate,omitempty"` // a repeat of ID: nothing new was stored
	Replay    bool   `json:"replay,omitempty"`    // a repeat of ID, which is dead: it is run again

	Events []stored `json:"events,omitempty"` // when there are several: the first of them
	Count  int      `json:"count,omitempty"`  // of all of them
}

// stored is one of several events of a request.
type stored struct {
	ID        string `json:"id"`
	Function  string `json:"function"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Replay    bool   `json:"replay,omitempty"`
}

// maxListed bounds the events that an answer lists: a request may bring thousands.
const maxListed = 20

// queuedAs says that events are stored.
func queuedAs(events []*queue.Event, receipts []queue.Receipt) accepted {
	if len(events) == 1 {
		r := receipts[0]
		return accepted{ID: r.ID, Status: "queued", Duplicate: r.Duplicate, Replay: r.Replay}
	}
	a := accepted{Status: "queued", Count: len(events)}
	for i, r := range receipts[:min(maxListed, len(receipts))] {
		a.Events = append(a.Events, stored{r.ID, events[i].Function, r.Duplicate, r.Replay})
	}
	return a
}

// succeed answers a webhook that is stored, ignored or a control request.
func (x *exchange) succeed(status int, event trigger.Event, a accepted) {
	x.said = a.Status
	status = cmp.Or(x.manner.success, status)
	switch {
	case event.Reply == nil:
		x.answerJSON(status, a)
	case json.Valid(event.Reply):
		x.answer(status, contentJSON, event.Reply)
	default:
		x.answer(status, contentText, event.Reply)
	}
}

// alexaSilence is what Alexa takes where no speech is allowed.
var alexaSilence = []byte(`{"version":"1.0","response":{}}`)

type alexaReply struct {
	Version  string `json:"version"`
	Response struct {
		OutputSpeech struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"outputSpeech"`
		ShouldEndSession bool `json:"shouldEndSession"`
	} `json:"response"`
}

// apology is the reply in place of a function's: spoken where that is allowed.
func apology(t *deploy.Trigger, event trigger.Event) []byte {
	if !event.Speech {
		return alexaSilence
	}
	var r alexaReply
	r.Version = "1.0"
	r.Response.OutputSpeech.Type = "PlainText"
	r.Response.OutputSpeech.Text = cmp.Or(t.Apology, deploy.DefaultApology)
	r.Response.ShouldEndSession = true
	b, err := json.Marshal(r)
	if err != nil {
		return alexaSilence
	}
	return b
}
