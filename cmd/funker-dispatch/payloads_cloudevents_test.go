package main

import (
	"encoding/json"
	"maps"
	"strings"
)

func cloudEventStructured(b *builder, body string) {
	var event struct{ Data json.RawMessage }
	b.read(body, &event)
	b.on(cloudEventsEntry, payloadSecret).signed(body).stored(string(event.Data))
	b.on(cloudEventsEntry+", function: Whole", payloadSecret).named("whole").signed(body).stored(body)
}

func cloudEventBatch(b *builder, body string) {
	b.on(cloudEventsEntry+", batch: true", payloadSecret).signed(body, "Content-Type", "application/cloudevents-batch+json").stored(`{"a":1}`, `"aGVsbG8="`).otherwise()
}

func cloudEventBinary(b *builder, data string) {
	var file struct {
		Body    json.RawMessage
		Headers map[string]string
		Subject string `json:"decoded_subject"`
		Reject  []struct{ Header, Value, Why string }
	}
	b.read(data, &file)
	send := func(entry, name string) *delivery {
		d := b.on(entry, payloadSecret).named(name).with("Authorization", "Bearer "+payloadSecret)
		for name, value := range file.Headers {
			d.with(name, value)
		}
		d.body = string(file.Body)
		return d
	}
	send(cloudEventsEntry, "data").stored(string(file.Body))
	whole := map[string]any{"data": file.Body, "datacontenttype": "application/json"}
	for name, value := range file.Headers {
		if attribute, ok := strings.CutPrefix(name, "ce-"); ok {
			whole[attribute] = value
		}
	}
	whole["subject"] = file.Subject
	send(cloudEventsEntry+", function: Whole", "whole").stored(b.written(whole)).otherwise()
	for _, c := range file.Reject {
		send(cloudEventsEntry, c.Why).with(c.Header, c.Value).refused("malformed")
	}
}

func cloudEventHandshake(b *builder, data string) {
	var file struct {
		Request struct {
			Method  string
			Headers map[string]string
		}
		Grant struct {
			Status  int
			Headers map[string]string
		} `json:"response_grant"`
		Refuse struct{ Status int } `json:"response_refuse"`
	}
	b.read(data, &file)
	ask := func(origin string) *delivery {
		d := b.on(cloudEventsEntry+", origins: ["+origin+"]", payloadSecret).named(origin)
		for name, value := range file.Request.Headers {
			d.with(name, value)
		}
		d.method = file.Request.Method
		return d
	}
	d := ask(file.Request.Headers["WebHook-Request-Origin"])
	d.want = hearing{file.Grant.Status, "", `{"status":"granted"}` + "\n", maps.Clone(file.Grant.Headers)}
	d.want.header["WebHook-Allowed-Rate"] = "*" // the file's is an example
	d = ask("another.example.org").refused("origin_refused")
	d.want.status = file.Refuse.Status
	d.want.header["WebHook-Allowed-Origin"], d.want.header["WebHook-Allowed-Rate"] = "", ""
}
