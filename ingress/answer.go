package ingress

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	contentJSON  = "application/json"
	contentAlexa = "application/json;charset=UTF-8"
)

// accepted answers a request that is done, or will be later.
type accepted struct {
	ID        string `json:"id,omitempty"`
	Status    string `json:"status"`
	Duplicate bool   `json:"duplicate,omitempty"`
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

// asSender fits a refusal to what the sender makes of the status: Amazon's
// certification wants 400 for everything that is wrong with a request.
func asSender(h *hook, err error) error {
	if h.Kind == deploy.KindAlexa && classify(err).status < http.StatusInternalServerError {
		return &alexaRefusal{err}
	}
	return err
}

// alexaRefusal is an error whose status is 400, whatever the table says.
type alexaRefusal struct{ error }

func (e *alexaRefusal) Unwrap() error { return e.error }

func isAlexaRefusal(err error) bool {
	var r *alexaRefusal
	return errors.As(err, &r)
}
