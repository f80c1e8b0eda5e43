package deploy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const eventGrid = `functions: {Ship: }
triggers:
  - cloudevents: shop
    secret-file: key
    batch: true
    origins: [eventgrid.azure.net, emitter.example.org]
    events: [com.example.order.created]
    function: Ship
`

func TestCloudEvents_EverySettingIsRead(t *testing.T) {
	got := withoutFiles(mustParse(t, eventGrid)).Triggers[0]
	want := &deploy.Trigger{
		Config: trigger.Config{
			Kind: trigger.CloudEvents, Secrets: []trigger.Secret{[]byte("swordfish")},
			Batched: true, Origins: []string{"eventgrid.azure.net", "emitter.example.org"},
		},
		Name: "shop", Path: "/cloudevents/shop",
		Routes: []deploy.Route{{Function: "Ship", Filter: deploy.Filter{Events: []string{"com.example.order.created"}}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := trigger.New(got.Config, nil); err != nil {
		t.Error(err)
	}
}

func TestCloudEvents_FaultsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"insecure: true, batch: some":              `2:65: batch must be true or false`,
		"insecure: true, origins: eventgrid":       `2:67: origins must be a list, such as [eventgrid.azure.net]`,
		"insecure: true, origins: []":              `2:67: origins is empty, so nothing would ever run`,
		"insecure: true, origins: ['*']":           `2:68: origins: "*" is not the name of a sender in DNS`,
		"insecure: true, origins: [https://a.org]": `2:68: origins: "https://a.org" is not the name of a sender in DNS`,
		"insecure: true, origins: [a, a]":          `2:71: origins: "a" is there twice`,
		"insecure: true, auth: basic":              `2:58: unknown key "auth"`,
		"batch: true":                              `2:13: nothing verifies the cloudevents trigger: add secret-file: <file>`,
	} {
		wantFaults(t, faultsOf(t, "functions: {F: }\ntriggers: [{cloudevents: a, function: F, "+text+"}]"), want)
	}
	wantFaults(t, faultsOf(t, "functions: {F: }\ntriggers: [{github: a, function: F, insecure: true, batch: true}]"), `2:53: unknown key "batch"`)
}

func TestCloudEvents_AChangeOfEachSettingIsSeen(t *testing.T) {
	before := mustParse(t, eventGrid)
	for key, text := range map[string]string{
		"batch":   strings.Replace(eventGrid, "true", "false", 1),
		"origins": strings.Replace(eventGrid, ", emitter.example.org", "", 1),
	} {
		got := deploy.Compare(before, mustParse(t, text))
		if len(got) != 1 || !reflect.DeepEqual(got[0].Keys, []string{key}) {
			t.Errorf("%s: got %+v", key, got)
		}
	}
}

func TestPayload_IsOneOfTheWordsThatThereAre(t *testing.T) {
	m := mustParse(t, "functions: {A: {payload: plain}, B: {payload: cloudevents}, C: }")
	for i, want := range []deploy.Payload{deploy.PayloadPlain, deploy.PayloadCloudEvents, deploy.PayloadPlain} {
		if got := m.Functions[i].Payload; got != want {
			t.Errorf("%s: got %q, want %q", m.Functions[i].Name, got, want)
		}
	}
	wantFaults(t, faultsOf(t, "functions: {F: {payload: cloudevent}}"), `1:26: payload "cloudevent" is unknown: did you mean "cloudevents"?`)
	wantFaults(t, faultsOf(t, "functions: {F: {payload: [plain]}}"), `1:26: payload must be a text`)
}

func TestPayload_IsPlainWhenAnEarlierGatewaySaysNothing(t *testing.T) {
	m, err := deploy.FromGateway([]byte(`[{"name":"F"}]`))
	if err != nil || m.Functions[0].Payload != deploy.PayloadPlain {
		t.Errorf("got %+v, %v", m, err)
	}
}
