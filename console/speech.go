package console

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// speech is what a reply says to somebody who uses Alexa. Source: Alexa Skills Kit, "Request and Response JSON Reference".
type speech struct {
	Says  string // plain text
	Asks  string // when nobody answers, likewise
	Card  string // title and text in the app
	Stays bool   // Alexa listens for an answer
}

// speechOf reads a reply to Alexa; nil for one that has nothing to say.
func speechOf(reply []byte) *speech {
	type output struct{ Type, Text, SSML string }
	var r struct {
		Response struct {
			OutputSpeech output
			Reprompt     struct{ OutputSpeech output }
			Card         struct{ Title, Content, Text string }
			// Without it Alexa ends the session, unless there is a reprompt.
			ShouldEndSession *bool
		}
	}
	if json.Unmarshal(reply, &r) != nil {
		return nil
	}
	spoken := func(o output) string {
		if o.Type == "SSML" {
			return textOf(o.SSML)
		}
		return o.Text
	}
	s := speech{Says: spoken(r.Response.OutputSpeech), Asks: spoken(r.Response.Reprompt.OutputSpeech)}
	card := r.Response.Card
	s.Card = strings.Join(strings.Fields(card.Title+" "+card.Content+" "+card.Text), " ")
	s.Stays = r.Response.ShouldEndSession != nil && !*r.Response.ShouldEndSession
	if s == (speech{}) {
		return nil
	}
	return &s
}

// textOf is what is said of a text in SSML. What is no SSML stays as it is.
func textOf(ssml string) string {
	var b strings.Builder
	for d := xml.NewDecoder(strings.NewReader(ssml)); ; {
		token, err := d.Token()
		switch text, ok := token.(xml.CharData); {
		case errors.Is(err, io.EOF):
			return strings.Join(strings.Fields(b.String()), " ")
		case err != nil:
			return ssml
		case ok:
			b.Write(text)
		default:
			b.WriteByte(' ')
		}
	}
}
