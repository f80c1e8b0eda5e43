package deploy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// readRoute reads a route of a trigger of a kind, also of kinds of which a whole trigger needs more.
func readRoute(kind, text string) (Filter, Faults) {
	r := &report{file: "f.yaml"}
	m := &manifestReader{report: r, functions: map[string]bool{"F": true}}
	route := routeReader{kind: kind}
	m.object(r.document([]byte(text)), "a route", route.fields(m))
	return route.Filter, r.faults
}

func TestFilter_EachKindHasItsKeys(t *testing.T) {
	const forge, storage = "branches, events, function, if, repositories", "buckets, events, function, if, keys"
	keys := map[string]string{
		"github": forge, "gitlab": forge, "bitbucket": forge, "gitea": forge, "forgejo": forge,
		"sns": storage, "minio": storage, "rustfs": storage, "eventbridge": storage,
	}
	for _, kind := range trigger.Kinds() {
		want := cmp.Or(keys[kind], "events, function, if")
		_, faults := readRoute(kind, "{function: F, zzzzzz: [main]}")
		if len(faults) != 1 || !strings.HasSuffix(faults[0].Message, `unknown key "zzzzzz" in a route: use one of `+want) {
			t.Errorf("%s: got %v, want %s", kind, faults, want)
		}
	}
	if _, faults := readRoute("stripe", "{function: F, branches: [main]}"); len(faults) != 1 || !strings.Contains(faults[0].Message, `unknown key "branches" in a route: use one of events, function, if`) {
		t.Errorf("got %v", faults)
	}
	if _, err := Parse("f.yaml", []byte("functions: {F: }\ntriggers: [{alexa: id, insecure: true, branches: [main]}]"), ""); err == nil || !strings.Contains(err.Error(), `unknown key "branches" in the alexa trigger: use one of`) {
		t.Errorf("got %v", err)
	}
}

func TestFilter_IsReadAsItIsWritten(t *testing.T) {
	_, faults := readRoute("gitlab", `
function: F
events: [Push Hook]
repositories: [acme/*, "**/site"]
branches: [main, release/**]
if: |
  body.ref == "refs/heads/main"
  && body.commits.size() > 0 # comments are no part of it: CEL has them as //
`)
	if len(faults) == 0 || faults[0].Line != 8 || faults[0].Column != 30 {
		t.Errorf("got %v, want a fault at the #", faults)
	}
	got, faults := readRoute("gitlab", `
function: F
events: [Push Hook]
repositories: [acme/*, "**/site"]
branches: [main, release/**]
if: |
  body.ref == "refs/heads/main" // the branch
  && body.commits.size() > 0
`)
	want := Filter{
		Events: []string{"Push Hook"}, Repositories: []string{"acme/*", "**/site"}, Branches: []string{"main", "release/**"},
		If: "body.ref == \"refs/heads/main\" // the branch\n&& body.commits.size() > 0",
	}
	if len(faults) != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, faults, want)
	}
	got, faults = readRoute("minio", "{function: F, buckets: [photos], keys: [uploads/, '**.jpg']}")
	want = Filter{Buckets: []string{"photos"}, Keys: []string{"uploads/", "**.jpg"}}
	if len(faults) != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, faults, want)
	}
}

func TestFilter_PatternsThatMatchNothingAreFaults(t *testing.T) {
	for entry, want := range map[string]string{
		"branches: main":                                      "branches must be a list, such as [main, release/*], not a text",
		"branches: []":                                        "branches is empty, so nothing would ever run",
		"branches: [refs/heads/main]":                         `branches: "refs/heads/main" begins with refs/: write the name alone`,
		`branches: ["!main"]`:                                 `branches: "!main" is not a branch`,
		`branches: ["v[0-9]"]`:                                `branches: "v[0-9]" is not a branch`,
		"branches: [main, main]":                              `branches: "main" is there twice`,
		"repositories: [site]":                                `repositories: "site" has no owner: write owner/name, such as acme/site`,
		`repositories: ["{a,b}/site"]`:                        `is not a repository: write owner/name`,
		`repositories: ["https://g/a/b"]`:                     `is not a repository`,
		"repositories: [" + strings.Repeat("x", 1100) + "/y]": "is longer than 1024 bytes",
		`branches: ["a\nb"]`:                                  "has control characters",
	} {
		for kind := range forges {
			_, faults := readRoute(kind, "{function: F, "+entry+"}")
			if len(faults) != 1 || !strings.Contains(faults[0].Message, want) {
				t.Errorf("%s, %.60s: got %v, want %s", kind, entry, faults, want)
			}
		}
	}
	for entry, want := range map[string]string{
		"buckets: [photos/a]": `buckets: "photos/a" is not a bucket`,
		"buckets: []":         `buckets is empty, so nothing would ever run`,
		"buckets: [a, a]":     `buckets: "a" is there twice`,
		"keys: [/uploads]":    `keys: "/uploads" begins with /, as no key does`,
		"keys: uploads":       `keys must be a list, such as [uploads/, '**.jpg'], not a text`,
		"keys: []":            `keys is empty, so nothing would ever run`,
	} {
		for _, kind := range storages {
			_, faults := readRoute(kind, "{function: F, "+entry+"}")
			if len(faults) != 1 || !strings.Contains(faults[0].Message, want) {
				t.Errorf("%s, %s: got %v, want %s", kind, entry, faults, want)
			}
		}
	}
}

func TestFilter_EventsThatNoSenderHasAreFaults(t *testing.T) {
	for kind, events := range map[string]map[string]string{
		trigger.GitHub:    {"push": "", "pull_request": "", "Push Hook": "use names such as push", "pull_request.opened": "use names such as push"},
		trigger.GitLab:    {"Push Hook": "", "System Hook": "", "push": "use names such as Push Hook", "merge_request": "use names such as Push Hook"},
		trigger.Bitbucket: {"repo:push": "", "pr:opened": "", "push": "use names such as repo:push"},
		trigger.MinIO:     {"s3:ObjectCreated:Put": "", "ObjectCreated:Put": "use names such as s3:ObjectCreated:Put", "s3:ObjectCreated:*": "has a *"},
		trigger.RustFS:    {"s3:ObjectRemoved:Delete": "", "ObjectRemoved:Delete": "use names such as s3:"},
		trigger.SNS: {
			"ObjectCreated:Put": "", "Alarm:OK": "", "Notification": "", "s3:ObjectCreated:Put": "in what S3 sends to SNS it is ObjectCreated:Put",
			"ObjectCreated:*": `write each of them, or if: event.startsWith("…")`,
		},
		trigger.Gitea: {"push": "", "pull_request_*": "has a *"}, trigger.Slack: {"/lamp": "", "app_*": "has a *"},
		trigger.Stripe: {"invoice.paid": "", "invoice.*": "has a *"}, trigger.CloudEvents: {"com.example.order.created": "", "com.example.*": "has a *"},
	} {
		for event, want := range events {
			got, faults := readRoute(kind, fmt.Sprintf("{function: F, events: [%q]}", event))
			switch {
			case want == "" && (len(faults) != 0 || !slices.Equal(got.Events, []string{event})):
				t.Errorf("%s, %s: got %v, %v", kind, event, got, faults)
			case want != "" && (len(faults) != 1 || !strings.Contains(faults[0].Message, want)):
				t.Errorf("%s, %s: got %v, want %s", kind, event, faults, want)
			}
		}
	}
}

func TestFilter_FaultsOfExpressionsStandWhereTheyAre(t *testing.T) {
	for text, want := range map[string]string{
		"if: event == pushed":                                "1:14: if: undeclared reference to 'pushed': the variables are event, source, headers and body",
		"if: 'event == pushed'":                              "1:15: if: undeclared reference to 'pushed'",
		"if: 'event == ''push'' && pushed'":                  "1:27: if: undeclared reference to 'pushed'",
		`if: "event == \"push\" && pushed"`:                  "1:27: if: undeclared reference to 'pushed'",
		"{function: F, if: event == 'ü' && pushed}":          "1:35: if: undeclared reference to 'pushed'",
		"function: F\nif: |\n  event == 'push'\n  || pushed": "4:6: if: undeclared reference to 'pushed'",
		"if: >-\n  event ==\n  'push'\n\n   || pushed":       "5:7: if: undeclared reference to 'pushed'",
		"if: event ==\n  'push' ||\n  pushed":                "3:3: if: undeclared reference to 'pushed'",
		"if: event ==":                                       "1:13: if: Syntax error",
		"if: event + 1 == 2":                                 "1:11: if: found no matching overload for '_+_' applied to '(string, int)'",
		"if: body.ref":                                       "1:5: if: the result is of the type dyn, not true or false",
		"if: size(event)":                                    "1:5: if: the result is of the type int, not true or false",
		"if: event.matches('(')":                             "1:19: if: invalid matches argument",
		"if: event.matches('(x{100}){100}')":                 "if: ",
		"if: duration('1x') > duration('1s')":                "1:14: if: invalid duration argument",
		"if: ":                                               "if has no value",
		"if: [a]":                                            "1:5: if must be a text, not a list",
		"if: yes_or_no(event)":                               "if: undeclared reference to 'yes_or_no'",
		"if: event == '" + strings.Repeat("x", 4100) + "'":   "1:5: if: the expression has 4111 characters: the limit is 4096",
		"if: " + strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300): "if: ",
	} {
		_, faults := readRoute("github", text)
		if len(faults) == 0 || !strings.Contains(fmt.Sprint(faults[0]), want) {
			t.Errorf("%.80s:\ngot  %v\nwant %s", text, faults, want)
		}
	}
}
