package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// passes asks a filter of a kind of a JSON payload. A part that cannot be asked fails the test.
func passes(t *testing.T, kind string, f deploy.Filter, payload string) bool {
	t.Helper()
	yes, err := matcher(t, kind, f).Passes(incoming(payload))
	if err != nil {
		t.Errorf("%+v on %s: %v", f, payload, err)
	}
	return yes
}

func matcher(t testing.TB, kind string, f deploy.Filter) *deploy.Matcher {
	t.Helper()
	m, err := deploy.NewMatcher(kind, f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func incoming(payload string) *deploy.Incoming {
	return &deploy.Incoming{
		Event: "push", Source: "github-acme", Header: map[string]string{"X-Github-Event": "push", "X-Number": "7"},
		ContentType: "application/json", Body: []byte(payload),
	}
}

// places are payloads as the senders document them, cut down to what names a repository and branches.
var places = map[string]struct {
	kind, payload, repository string
	branches                  string // separated by blanks
}{
	"github push":              {"github", `{"ref":"refs/heads/release/1.0","repository":{"full_name":"Acme/site"}}`, "acme/site", "release/1.0"},
	"github push of a tag":     {"github", `{"ref":"refs/tags/main","repository":{"full_name":"acme/site"}}`, "acme/site", ""},
	"github create":            {"github", `{"ref":"topic","ref_type":"branch","repository":{"full_name":"acme/site"}}`, "acme/site", "topic"},
	"github create of a tag":   {"github", `{"ref":"main","ref_type":"tag","repository":{"full_name":"acme/site"}}`, "acme/site", ""},
	"github pull request":      {"github", `{"pull_request":{"base":{"ref":"main"},"head":{"ref":"topic"}},"repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"github workflow":          {"github", `{"workflow_run":{"head_branch":"main"},"repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"github check":             {"github", `{"check_run":{"check_suite":{"head_branch":"main"}},"repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"github status":            {"github", `{"branches":[{"name":"main"},{"name":"next"}],"repository":{"full_name":"acme/site"}}`, "acme/site", "main next"},
	"github merge queue":       {"github", `{"merge_group":{"base_ref":"refs/heads/main"},"repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"github issue":             {"github", `{"issue":{"number":1},"repository":{"full_name":"acme/site"}}`, "acme/site", ""},
	"github organization":      {"github", `{"organization":{"login":"acme"}}`, "", ""},
	"gitea push":               {"gitea", `{"ref":"refs/heads/main","repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"forgejo pull request":     {"forgejo", `{"pull_request":{"base":{"ref":"main"}},"repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"gitlab push":              {"gitlab", `{"object_kind":"push","ref":"refs/heads/main","project":{"path_with_namespace":"acme/sub/site"}}`, "acme/sub/site", "main"},
	"gitlab push of a tag":     {"gitlab", `{"object_kind":"tag_push","ref":"refs/tags/main","project":{"path_with_namespace":"acme/site"}}`, "acme/site", ""},
	"gitlab merge request":     {"gitlab", `{"object_kind":"merge_request","object_attributes":{"source_branch":"topic","target_branch":"main"},"project":{"path_with_namespace":"acme/site"}}`, "acme/site", "main"},
	"gitlab note":              {"gitlab", `{"object_kind":"note","merge_request":{"target_branch":"main"},"project":{"path_with_namespace":"acme/site"}}`, "acme/site", "main"},
	"gitlab pipeline":          {"gitlab", `{"object_kind":"pipeline","object_attributes":{"ref":"topic","tag":false},"merge_request":{"target_branch":"main"},"project":{"path_with_namespace":"acme/site"}}`, "acme/site", "topic"},
	"gitlab pipeline of a tag": {"gitlab", `{"object_kind":"pipeline","object_attributes":{"ref":"v1","tag":true},"project":{"path_with_namespace":"acme/site"}}`, "acme/site", ""},
	"gitlab job":               {"gitlab", `{"object_kind":"build","ref":"main","tag":false,"project":{"path_with_namespace":"acme/site"}}`, "acme/site", "main"},
	"gitlab job of a tag":      {"gitlab", `{"object_kind":"build","ref":"v1","tag":true,"project":{"path_with_namespace":"acme/site"}}`, "acme/site", ""},
	"bitbucket push":           {"bitbucket", `{"push":{"changes":[{"new":{"type":"branch","name":"main"},"old":null},{"new":{"type":"tag","name":"v1"}}]},"repository":{"full_name":"acme/site","project":{"key":"P"}}}`, "acme/site", "main"},
	"bitbucket deletion":       {"bitbucket", `{"push":{"changes":[{"new":null,"old":{"type":"branch","name":"topic"}}]},"repository":{"full_name":"acme/site"}}`, "acme/site", "topic"},
	"bitbucket pull request":   {"bitbucket", `{"pullrequest":{"source":{"branch":{"name":"topic"}},"destination":{"branch":{"name":"main"}}},"repository":{"full_name":"acme/site"}}`, "acme/site", "main"},
	"data center push":         {"bitbucket", `{"changes":[{"ref":{"id":"refs/heads/main","displayId":"main","type":"BRANCH"}},{"ref":{"id":"refs/tags/v1","type":"TAG"}}],"repository":{"slug":"site","project":{"key":"ACME"}}}`, "acme/site", "main"},
	"data center pull request": {"bitbucket", `{"pullRequest":{"fromRef":{"id":"refs/heads/topic"},"toRef":{"id":"refs/heads/main","repository":{"slug":"site","project":{"key":"ACME"}}}}}`, "acme/site", "main"},
}

func TestFilter_FindsRepositoriesAndBranchesWhereEachForgeHasThem(t *testing.T) {
	for name, c := range places {
		t.Run(name, func(t *testing.T) {
			for _, repository := range []string{"acme/site", "ACME/*", "acme/sub/site", "other/site", "**"} {
				want := strings.EqualFold(repository, c.repository) || c.repository != "" && repository == "**" || repository == "ACME/*" && c.repository == "acme/site"
				if got := passes(t, c.kind, deploy.Filter{Repositories: []string{"no/thing", repository}}, c.payload); got != want {
					t.Errorf("repositories: [%s] passes: %t, want %t", repository, got, want)
				}
			}
			for _, branch := range []string{"main", "next", "topic", "release/1.0", "v1", "refs/heads/main"} {
				want := strings.Contains(" "+c.branches+" ", " "+branch+" ")
				if got := passes(t, c.kind, deploy.Filter{Branches: []string{"nothing", branch}}, c.payload); got != want {
					t.Errorf("branches: [%s] passes: %t, want %t", branch, got, want)
				}
			}
		})
	}
}

// record is one of S3's, with a key as it is sent.
func record(bucket, key string) string {
	return fmt.Sprintf(`{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q}}}`, bucket, key)
}

func TestFilter_FindsTheObjectsOfStorageEvents(t *testing.T) {
	records := `{"Records":[` + record("logs", "a.jpg") + `,` + record("photos", "uploads/red+flower%28%C3%BC%29.jpg") + `]}`
	detail := `{"detail-type":"Object Created","detail":{"bucket":{"name":"photos"},"object":{"key":"uploads/red flower(ü).jpg"}}}`
	for name, c := range map[string]struct{ kind, payload string }{
		"sns":                {"sns", records},
		"sns with envelope":  {"sns", fmt.Sprintf(`{"Type":"Notification","Message":%q}`, records)},
		"one record":         {"sns", record("photos", "uploads/red+flower(%C3%BC).jpg")},
		"minio":              {"minio", `{"EventName":"s3:ObjectCreated:Put","Key":"photos/x","Records":[` + record("photos", "uploads%2Fred+flower%28%C3%BC%29.jpg") + `]}`},
		"eventbridge":        {"eventbridge", detail},
		"eventbridge by sns": {"sns", fmt.Sprintf(`{"Type":"Notification","Message":%q}`, detail)},
	} {
		for _, f := range []struct {
			buckets, keys string
			want          bool
		}{
			{"photos", "", true}, {"photo?", "", true}, {"photo", "", false}, {"p*", "uploads/", true},
			{"", "uploads/", true}, {"", "uploads/*.jpg", true}, {"", "*.jpg", strings.Contains(c.payload, "logs")}, {"", "**.jpg", true}, {"", "uploads", false},
			{"", "uploads/red flower(ü).jpg", true}, {"", "uploads/red+flower(ü).jpg", false}, {"logs", "uploads/", false},
		} {
			var filter deploy.Filter
			if f.buckets != "" {
				filter.Buckets = []string{f.buckets}
			}
			if f.keys != "" {
				filter.Keys = []string{f.keys}
			}
			if got := passes(t, c.kind, filter, c.payload); got != f.want {
				t.Errorf("%s: %+v passes: %t, want %t", name, filter, got, f.want)
			}
		}
	}
	for _, payload := range []string{`{}`, `{"Records":[]}`, `{"Records":[{"s3":null}]}`, `{"Message":"hello"}`, `{"Message":"{\"Message\":\"{}\"}"}`, `[]`, `"x"`, `{"detail":{"state":"ALARM"}}`} {
		if passes(t, "sns", deploy.Filter{Keys: []string{"**"}}, payload) {
			t.Errorf("%s passes: there is no object in it", payload)
		}
	}
}

const pushed = `{"ref":"refs/heads/main","number":7,"id":9007199254740993,"price":1.5,"huge":1e400,"draft":false,"milestone":null,
"commits":[{"message":"fix: a","modified":["docs/a.md"]},{"message":"b","modified":[]}],"repository":{"full_name":"acme/site"}}`

func TestFilter_ConditionsSeeTheEvent(t *testing.T) {
	for expression, want := range map[string]bool{
		`event == "push" && source == "github-acme"`:                                          true,
		`headers["x-github-event"] == "push" && headers["x-number"] == "7"`:                   true,
		`headers["content-type"].startsWith("application/json")`:                              true,
		`"x-github-event" in headers && !("X-Github-Event" in headers)`:                       true,
		`body.ref == "refs/heads/main"`:                                                       true,
		`body.number > 6 && body.number % 2 == 1`:                                             true,
		`body.number < 7.5 && body.price > 1`:                                                 true,
		`body.id == 9007199254740993`:                                                         true,
		`body.id == 9007199254740992`:                                                         false,
		`body.huge > 1.0`:                                                                     true,
		`body.commits.exists(c, c.message.startsWith("fix"))`:                                 true,
		`body.commits.all(c, c.modified.all(f, f.startsWith("docs/")))`:                       true,
		`body.commits.size() == 3`:                                                            false,
		`body.repository.full_name.matches("^acme/[a-z]+$")`:                                  true,
		`has(body.pull_request)`:                                                              false,
		`!has(body.pull_request) || body.pull_request.draft == true`:                          true,
		`body.draft == true`:                                                                  false,
		`body.milestone == null`:                                                              true,
		`timestamp("2026-11-25T00:00:00Z") < timestamp("2026-11-26T00:00:00Z")`:               true,
		`body.commits.map(c, c.message).filter(m, m == "b").size() == 1 && type(body) == map`: true,
		`[1, 2].exists(n, n == 2) && {"a": true}["a"]`:                                        true,
	} {
		if got := passes(t, "github", deploy.Filter{If: expression}, pushed); got != want {
			t.Errorf("%s: got %t, want %t", expression, got, want)
		}
	}
}

func TestFilter_WhatIsNotThereDoesNotMatch(t *testing.T) {
	for _, expression := range []string{
		`body.action == "opened"`, `body.action != "opened"`, `!(body.action == "opened")`, `headers["x-none"] == "1"`, `body["a"]["b"].c == 1`,
		`body.milestone.title == "x"`, `body.ref.name == "x"`, `body.number.a == 1`, `body.action == "x" || body.action == "y"`, `body.pull_request.labels.exists(l, l == "x")`,
	} {
		if passes(t, "github", deploy.Filter{If: expression}, pushed) {
			t.Errorf("%s: passes", expression)
		}
	}
	if !passes(t, "github", deploy.Filter{If: `body.action == "opened" || event == "push"`}, pushed) {
		t.Error("what is not there on one side of || outweighs the other side")
	}
}

func TestFilter_WhatCannotBeEvaluatedPasses(t *testing.T) {
	large := `{"a":["` + strings.Repeat(`xxxxxxxxx","`, deploy.MaxFilterPayload/13) + `"]}`
	for name, c := range map[string]struct {
		filter         deploy.Filter
		in             *deploy.Incoming
		reason, detail string
	}{
		"types":        {deploy.Filter{If: `body.ref > 1`}, incoming(pushed), "cannot be evaluated", "no such overload"},
		"index":        {deploy.Filter{If: `body.commits[2].message == "x"`}, incoming(pushed), "cannot be evaluated", "index out of bounds"},
		"conversion":   {deploy.Filter{If: `timestamp(body.ref) == timestamp(0)`}, incoming(pushed), "cannot be evaluated", "refs/heads/main"},
		"cost":         {deploy.Filter{If: `body.a.all(x, body.a.all(y, x == y))`}, incoming(large), "cannot be evaluated", "cost limit exceeded"},
		"regex":        {deploy.Filter{If: `"x".matches(body.ref + "(")`}, incoming(pushed), "cannot be evaluated", ""},
		"too large":    {deploy.Filter{Branches: []string{"main"}}, incoming(large + strings.Repeat(" ", deploy.MaxFilterPayload)), "filters look into 4194304 at most", ""},
		"large if":     {deploy.Filter{If: `body.a == 1`}, incoming(large + strings.Repeat(" ", deploy.MaxFilterPayload)), "filters look into 4194304 at most", ""},
		"no payload":   {deploy.Filter{If: `body.a == 1`}, &deploy.Incoming{Body: []byte("hello"), ContentType: "text/plain"}, "cannot be made of the body", "neither JSON"},
		"no JSON":      {deploy.Filter{Repositories: []string{"**"}}, incoming("hello"), "no JSON", ""},
		"unknown form": {deploy.Filter{If: `body.a == 1`}, &deploy.Incoming{Form: "newer", Body: []byte("{}")}, "cannot be made of the body", "newer"},
	} {
		yes, err := matcher(t, "github", c.filter).Passes(c.in)
		var failed *deploy.FilterError
		if !yes || !errors.As(err, &failed) || !strings.Contains(failed.Reason, c.reason) || !strings.Contains(failed.Detail, c.detail) {
			t.Errorf("%s: got %t, %#v", name, yes, err)
		} else if strings.Contains(err.Error(), "refs/heads") {
			t.Errorf("%s: the error quotes the event: %v", name, err)
		}
	}
}

func TestFilter_ANoOutweighsWhatCannotBeEvaluated(t *testing.T) {
	for _, f := range []deploy.Filter{
		{Events: []string{"release"}, If: `body.ref > 1`},
		{Branches: []string{"next"}, If: `body.ref > 1`},
		{If: `body.ref > 1 && event == "release"`},
	} {
		if passes(t, "github", f, pushed) {
			t.Errorf("%+v: passes", f)
		}
	}
	if !passes(t, "github", deploy.Filter{If: `body.ref > 1 || event == "push"`}, pushed) {
		t.Error("does not pass")
	}
}

func TestFilter_AllOfItHasToBeMet(t *testing.T) {
	all := deploy.Filter{Events: []string{"push"}, Repositories: []string{"acme/*"}, Branches: []string{"main"}, If: `body.number == 7`}
	if !passes(t, "github", all, pushed) {
		t.Error("the event does not pass")
	}
	for _, change := range []func(*deploy.Filter){
		func(f *deploy.Filter) { f.Events = []string{"release"} },
		func(f *deploy.Filter) { f.Repositories = []string{"other/*"} },
		func(f *deploy.Filter) { f.Branches = []string{"next"} },
		func(f *deploy.Filter) { f.If = `body.number == 8` },
	} {
		f := all
		if change(&f); passes(t, "github", f, pushed) {
			t.Errorf("%+v: passes", f)
		}
	}
	if !passes(t, "github", deploy.Filter{}, "not even JSON") {
		t.Error("no filter does not let all through")
	}
}

func TestFilter_TakesTheFieldOfAForm(t *testing.T) {
	in := &deploy.Incoming{ContentType: "application/x-www-form-urlencoded", Body: []byte("payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D")}
	if yes, err := matcher(t, "github", deploy.Filter{Branches: []string{"main"}, If: `body.ref == "refs/heads/main"`}).Passes(in); !yes || err != nil {
		t.Errorf("got %t, %v", yes, err)
	}
}

func TestNewMatcher_RefusesWhatNoManifestHas(t *testing.T) {
	for want, c := range map[string]struct {
		kind   string
		filter deploy.Filter
	}{
		"a stripe trigger has no branches":        {"stripe", deploy.Filter{Branches: []string{"main"}}},
		"an unknown kind":                         {"", deploy.Filter{Repositories: []string{"a/b"}}},
		"a github trigger has no buckets or keys": {"github", deploy.Filter{Buckets: []string{"b"}}},
		"if: line 1, column 1: undeclared":        {"github", deploy.Filter{If: "nothing"}},
	} {
		if _, err := deploy.NewMatcher(c.kind, c.filter); err == nil || c.kind != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestGlobs_KeepToOneFolderUnlessTheyHaveTwoStars(t *testing.T) {
	for pattern, texts := range map[string]map[string]bool{
		"main":       {"main": true, "mainline": false, "a/main": false, "": false},
		"release/*":  {"release/1": true, "release/": true, "release/1/2": false, "release": false},
		"release/**": {"release/1": true, "release/1/2": true, "release": false},
		"**/fix":     {"a/fix": true, "a/b/fix": true, "fix": false},
		"v?.x":       {"v1.x": true, "v.x": false, "v1yx": false, "v/.x": false},
		"a+(b)|c":    {"a+(b)|c": true, "aab": false, "c": false},
		"***":        {"a/b": true, "a\nb": true},
	} {
		for text, want := range texts {
			if got := passes(t, "github", deploy.Filter{Branches: []string{pattern}}, fmt.Sprintf(`{"ref":%q}`, "refs/heads/"+text)); got != want {
				t.Errorf("%s on %q: got %t, want %t", pattern, text, got, want)
			}
		}
	}
}

func TestFilter_FindsTheRepositoryInRecordedPayloads(t *testing.T) {
	dir := os.Getenv("FUNKER_TEST_PAYLOADS")
	if dir == "" {
		t.Log("FUNKER_TEST_PAYLOADS is not set: no recorded payloads are tried")
		return
	}
	for kind, c := range map[string]struct {
		pattern string
		filter  deploy.Filter
	}{
		"github push":        {"github/push.*.json", deploy.Filter{Repositories: []string{"*/*"}}},
		"github pull":        {"github/pull_request.*.json", deploy.Filter{Repositories: []string{"*/*"}, Branches: []string{"**"}}},
		"gitlab":             {"gitlab/[^s]*.json", deploy.Filter{Repositories: []string{"**"}, Branches: []string{"**"}}},
		"gitea":              {"gitea/[^s]*.json", deploy.Filter{Repositories: []string{"*/*"}, Branches: []string{"**"}}},
		"bitbucket":          {"bitbucket/cloud-repo-push.json", deploy.Filter{Repositories: []string{"*/*"}, Branches: []string{"**"}}},
		"bitbucket server":   {"bitbucket/server*.json", deploy.Filter{Repositories: []string{"*/*"}, Branches: []string{"**"}}},
		"minio":              {"minio/*.json", deploy.Filter{Buckets: []string{"*"}, Keys: []string{"**"}}},
		"sns":                {"s3/s3-objectcreated*.json", deploy.Filter{Buckets: []string{"*"}, Keys: []string{"**"}}},
		"eventbridge object": {"eventbridge/*object*.json", deploy.Filter{Buckets: []string{"*"}, Keys: []string{"**"}}},
	} {
		kind, _, _ = strings.Cut(kind, " ")
		files, err := filepath.Glob(filepath.Join(dir, c.pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("no %s in %s: %v", c.pattern, dir, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !passes(t, kind, c.filter, string(data)) {
				t.Errorf("%s: %+v finds nothing", file, c.filter)
			}
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`body.ref == "x"`, "main", pushed)
	f.Add(`body.commits.exists(c, c.message.matches("^a+$"))`, "release/*", `{"ref":1,"push":{"changes":[null,[]]},"project":[]}`)
	f.Add(`headers["a"] == event`, "**", `[]`)
	f.Add(`body.a[0].b ? true : false`, "a?", string(trigger.Sample(trigger.GitHub)))
	f.Fuzz(func(t *testing.T, expression, pattern, payload string) {
		for _, kind := range []string{"github", "gitlab", "bitbucket", "sns"} {
			filter := deploy.Filter{If: expression}
			if kind == "sns" {
				filter.Keys = []string{pattern}
			} else {
				filter.Branches, filter.Repositories = []string{pattern}, []string{pattern}
			}
			m, err := deploy.NewMatcher(kind, filter)
			if err != nil {
				return
			}
			in := incoming(payload)
			before := bytes.Clone(in.Body)
			first, err := m.Passes(in)
			if second, _ := m.Passes(incoming(payload)); first != second {
				t.Errorf("%+v passes %t, then %t", filter, first, second)
			}
			if err != nil && !first || !bytes.Equal(before, in.Body) {
				t.Errorf("got %t with %v, or the body has changed", first, err)
			}
		}
	})
}

func TestCompare_SeesEachChangeOfAFilter(t *testing.T) {
	manifest := func(filters string) *deploy.Manifest {
		return mustParse(t, "functions: {F: , G: }\ntriggers:\n- {github: a, insecure: true, "+filters+"}\n")
	}
	last := manifest(`function: F, repositories: [a/b], branches: [main], if: "event == 'push'"`)
	for filters, want := range map[string][]string{
		`function: F, repositories: [a/b], branches: [main], if: "event == 'push'"`: nil,
		`function: F, repositories: [a/c], branches: [main], if: "event == 'push'"`: {"repositories"},
		`function: F, repositories: [a/b], if: "event == 'release'"`:                {"branches", "if"},
		`function: F`: {"branches", "if", "repositories"},
	} {
		changes := deploy.Compare(last, manifest(filters))
		if want == nil && len(changes) == 0 {
			continue
		}
		if len(changes) != 1 || !reflect.DeepEqual(changes[0].Keys, want) {
			t.Errorf("%s: got %+v, want changes of %v", filters, changes, want)
		}
	}
	stored := func(filters string) *deploy.Manifest {
		return mustParse(t, "functions: {F: }\ntriggers: [{rustfs: a, insecure: true, function: F, "+filters+"}]")
	}
	for filters, want := range map[string][]string{
		"buckets: [b], keys: [a/]": {"buckets"}, "buckets: [a], keys: [b/]": {"keys"}, `events: ["s3:x"]`: {"buckets", "events", "keys"},
	} {
		changes := deploy.Compare(stored("buckets: [a], keys: [a/]"), stored(filters))
		if len(changes) != 1 || !reflect.DeepEqual(changes[0].Keys, want) {
			t.Errorf("%s: got %+v, want changes of %v", filters, changes, want)
		}
	}
	several := func(expression string) *deploy.Manifest {
		return manifest(`routes: [{function: F}, {function: G, if: "` + expression + `"}]`)
	}
	if changes := deploy.Compare(several("event == 'a'"), several("event == 'a'")); len(changes) != 0 {
		t.Errorf("got %+v for equal routes", changes)
	}
	if changes := deploy.Compare(several("event == 'a'"), several("event == 'b'")); len(changes) != 1 || !reflect.DeepEqual(changes[0].Keys, []string{"routes"}) {
		t.Errorf("got %+v, want a change of routes", changes)
	}
}

func BenchmarkFilter(b *testing.B) {
	body := []byte(tenKilobytes())
	for _, c := range []struct {
		name   string
		filter deploy.Filter
	}{
		{"none", deploy.Filter{}},
		{"events", deploy.Filter{Events: []string{"release", "push"}}},
		{"branches", deploy.Filter{Branches: []string{"main", "release/*"}}},
		{"if-without-body", deploy.Filter{If: `event == "push" && source == "github-acme"`}},
		{"if", deploy.Filter{If: `body.ref == "refs/heads/main" && body.commits.exists(c, c.modified.exists(f, f.startsWith("docs/")))`}},
	} {
		m := matcher(b, "github", c.filter)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in := deploy.Incoming{Event: "push", Source: "github-acme", ContentType: "application/json", Body: body}
				if yes, err := m.Passes(&in); !yes || err != nil {
					b.Fatal(yes, err)
				}
			}
		})
	}
}

// tenKilobytes is a push of so many bytes, of which the last file is one of docs.
func tenKilobytes() string {
	commit := `{"id":"b7d1c94e5f6a8b90c1d2e3f4a5b6c7d8e9f0a1b2","message":"change of a file","author":{"name":"A","email":"a@example.org"},"added":[],"modified":["src/a.go","src/b.go"]},`
	commits := strings.Repeat(commit, (10<<10)/len(commit))
	return `{"ref":"refs/heads/main","repository":{"full_name":"acme/site"},"commits":[` + commits + `{"modified":["docs/a.md"]}]}`
}

func BenchmarkFilter_AtTheCostLimit(b *testing.B) {
	m := matcher(b, "github", deploy.Filter{If: `body.a.all(x, body.a.all(y, x == y))`})
	in := incoming(`{"a":["` + strings.Repeat(`xxxxxxxxx","`, 10_000) + `"]}`)
	for b.Loop() {
		if _, err := m.Passes(in); err == nil {
			b.Fatal("no limit")
		}
	}
}
