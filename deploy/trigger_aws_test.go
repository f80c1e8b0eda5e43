package deploy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestPlainSenders_EverySettingIsRead(t *testing.T) {
	m := mustParse(t, `
functions: {F: }
triggers:
- {eventbridge: a, secret-file: key, auth: basic, user: aws, payload: raw, split: true, events: [Object Created], function: F}
- {eventbridge: b, secret-file: [key], header: X-Lamp, function: F}
- {firehose: a, secret-file: key, payload: lambda, split: true, events: [INSERT], function: F}
- {minio: a, secret-file: key, payload: lambda, function: F}
- {rustfs: a, path: /store, insecure: true, function: F}
`)
	secrets := []trigger.Secret{[]byte("swordfish")}
	route := func(events ...string) []deploy.Route {
		return []deploy.Route{{Function: "F", Filter: deploy.Filter{Events: events}}}
	}
	want := []*deploy.Trigger{
		{Config: trigger.Config{Kind: "eventbridge", Secrets: secrets, Auth: "basic", User: "aws", Payload: "raw", Split: true}, Name: "a", Path: "/eventbridge/a", Routes: route("Object Created")},
		{Config: trigger.Config{Kind: "eventbridge", Secrets: secrets, Header: "X-Lamp"}, Name: "b", Path: "/eventbridge/b", Routes: route()},
		{Config: trigger.Config{Kind: "firehose", Secrets: secrets, Payload: "lambda", Split: true}, Name: "a", Path: "/firehose/a", Routes: route("INSERT")},
		{Config: trigger.Config{Kind: "minio", Secrets: secrets, Payload: "lambda"}, Name: "a", Path: "/minio/a", Routes: route()},
		{Config: trigger.Config{Kind: "rustfs", Insecure: true}, Name: "a", Path: "/store", Routes: route()},
	}
	for i, got := range withoutFiles(m).Triggers {
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("got %+v, want %+v", got, want[i])
		}
		if _, err := trigger.New(got.Config, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestPlainSenders_FaultsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"eventbridge: a": `2:13: nothing verifies the eventbridge trigger: add secret-file: <file>`,
		"firehose: a":    `2:13: nothing verifies the firehose trigger`,
		"minio: a":       `2:13: nothing verifies the minio trigger`,
		"rustfs: a, secret-file: key, insecure: true":                         `2:42: insecure: true and secret-file exclude each other`,
		"eventbridge: a, insecure: true, payload: message":                    `2:54: payload "message" is unknown`,
		"minio: a, insecure: true, split: 1":                                  `2:46: split must be true or false`,
		"minio: a, insecure: true, auth: bearer":                              `2:39: unknown key "auth"`,
		"firehose: a, insecure: true, events: [INSERT]":                       `2:42: events needs split: true here`,
		"firehose: a, secret-file: key, routes: [{function: F, events: [x]}]": `2:44: events needs split: true here`,
		"s3: a":         `2:13: s3 sends nothing by itself: its events come through a trigger of the kind sns, eventbridge or minio`,
		"dynamodb: a":   `2:13: dynamodb sends nothing by itself: its events come through a trigger of the kind eventbridge or firehose`,
		"cloudwatch: a": `2:13: cloudwatch sends nothing by itself`,
	} {
		if !strings.Contains(text, "function:") {
			text += ", function: F"
		}
		wantFaults(t, faultsOf(t, "functions: {F: }\ntriggers: [{"+text+"}]"), want)
	}
}

func TestPlainSenders_ChangesAreTold(t *testing.T) {
	one := mustParse(t, "functions: {F: }\ntriggers: [{eventbridge: a, secret-file: key, function: F}]")
	other := mustParse(t, "functions: {F: }\ntriggers: [{eventbridge: a, secret-file: key, function: F, auth: basic, user: u, payload: raw, split: true}]")
	got := deploy.Compare(one, other)
	if len(got) != 1 || strings.Join(got[0].Keys, " ") != "auth payload split user" {
		t.Errorf("got %+v", got)
	}
}
