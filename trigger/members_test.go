package trigger_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestPayloadMembers_KeepsWhatIsNamedAsItStands(t *testing.T) {
	const body = ` {"version" : "1.0", "session":{ "new": true},"request": [1, 2] ,"\u0063ontext":{"a":1e2}} `
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, body},
		{[]string{}, `{}`},
		{[]string{"session"}, `{"session":{ "new": true}}`},
		{[]string{"request", "version"}, `{"version": "1.0","request": [1, 2]}`},
		{[]string{"context", "missing"}, `{"\u0063ontext":{"a":1e2}}`},
	} {
		got, err := trigger.PayloadMembers("", "application/json", []byte(body), c.names)
		if err != nil || string(got) != c.want {
			t.Errorf("%q: got %s, %v; want %s", c.names, got, err, c.want)
		}
	}
}

func TestPayloadMembers_TakesThePayloadOfAForm(t *testing.T) {
	got, err := trigger.PayloadMembers("", formType, []byte("payload=%7B%22a%22:1,%22b%22:2%7D"), []string{"b"})
	if err != nil || string(got) != `{"b":2}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestPayloadMembers_KeepsBothOfTwo(t *testing.T) {
	got, err := trigger.PayloadMembers("", "", []byte(`{"a":1,"b":2,"a":3}`), []string{"a"})
	if err != nil || string(got) != `{"a":1,"a":3}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestPayloadMembers_RefusesWhatIsNoObject(t *testing.T) {
	for body, reason := range map[string]trigger.Reason{
		`[{"a":1}]`: trigger.ReasonMalformed, `"a"`: trigger.ReasonMalformed, `null`: trigger.ReasonMalformed,
		``: trigger.ReasonEmpty, `{"a":1`: trigger.ReasonSyntax, `{"a":1} x`: trigger.ReasonSyntax,
	} {
		_, err := trigger.PayloadMembers("", "", []byte(body), []string{"a"})
		wantRefusal(t, err, reason)
	}
	if got, err := trigger.PayloadMembers("", "", []byte("[1]"), nil); err != nil || string(got) != "[1]" {
		t.Errorf("without names: got %s, %v", got, err)
	}
}

func TestPayloadMembers_IsWhatEncodingJSONWouldKeep(t *testing.T) {
	name := rapid.StringMatching(`[a-dü"\\ ]{0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		object := rapid.MapOf(name, rapid.IntRange(0, 9)).Draw(t, "object")
		names := rapid.SliceOf(name).Draw(t, "names")
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out, err := trigger.PayloadMembers("", "", body, names)
		if err != nil {
			t.Fatal(err)
		}
		got, want := map[string]int{}, map[string]int{}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		for key, value := range object {
			if slices.Contains(names, key) {
				want[key] = value
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %s, want %v", out, want)
		}
	})
}
