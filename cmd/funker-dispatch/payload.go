package main

import (
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// payloadOf is what a function gets of an event: all of its payload, or the members that the manifest names as its input;
// in a CloudEvent where the manifest says so.
func payloadOf(e *queue.Event, f *deploy.Function) ([]byte, error) {
	if f.Payload != deploy.PayloadCloudEvents {
		return trigger.PayloadMembers(e.Form, e.ContentType, e.Body, f.Input)
	}
	return trigger.PayloadCloudEvent(trigger.Stored{
		ID: e.ID, Source: e.Source, Name: e.Name, Form: e.Form, Time: e.Accepted(),
		ContentType: e.ContentType, Header: e.Header, Body: e.Body,
		Traceparent: e.Traceparent, Tracestate: e.Tracestate,
	}, f.Input)
}
