package console

import "testing"

func TestSpeech_IsWhatSomebodyHears(t *testing.T) {
	for reply, want := range map[string]*speech{
		`{"version":"1.0","response":{"outputSpeech":{"type":"PlainText","text":"Hello <b>."},"shouldEndSession":true}}`:             {Says: "Hello <b>."},
		`{"response":{"outputSpeech":{"type":"SSML","ssml":"<speak>One <break time=\"1s\"/>&amp; <w role=\"x\">two</w>.</speak>"}}}`: {Says: "One & two ."},
		`{"response":{"outputSpeech":{"type":"SSML","ssml":"<speak>open"}}}`:                                                         {Says: "<speak>open"},
		`{"response":{"reprompt":{"outputSpeech":{"type":"PlainText","text":"Well?"}},"shouldEndSession":false}}`:                    {Asks: "Well?", Stays: true},
		`{"response":{"card":{"type":"Standard","title":"Lamp","text":"It\nis lit"}}}`:                                               {Card: "Lamp It is lit"},
		`{"version":"1.0","response":{}}`: nil,
		`{"response":7}`:                  nil,
		`no JSON`:                         nil,
	} {
		got := speechOf([]byte(reply))
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: got %+v, want %+v", reply, got, want)
		}
	}
}
