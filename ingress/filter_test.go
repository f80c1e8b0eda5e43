package ingress

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// routed replaces the routes of the GitHub trigger.
func (g *gateway) routed(routes ...deploy.Route) {
	m := manifest()
	m.Triggers[1].Routes = routes
	g.catalog.Set(m)
}

// functions waits for n events, and returns which functions got them, sorted.
func (g *gateway) functions(n int) []string {
	g.t.Helper()
	var names []string
	for range n {
		names = append(names, g.event().Function)
	}
	slices.Sort(names)
	return names
}

func pushOf(branch string) string {
	return fmt.Sprintf(`{"ref":"refs/heads/%s","after":%q,"commits":[],"repository":{"full_name":"acme/site"}}`, branch, queue.NewID())
}

func TestFilter_EachRouteDecidesByWhatIsInTheEvent(t *testing.T) {
	g := start(t)
	g.routed(
		deploy.Route{Function: "Fetch", Filter: deploy.Filter{Branches: []string{"main"}}},
		deploy.Route{Function: "HelloIntent", Filter: deploy.Filter{If: `headers["x-github-event"] == "push" && body.ref.startsWith("refs/heads/release/")`}},
		deploy.Route{Function: "LaunchRequest", Filter: deploy.Filter{Events: []string{"push"}, Repositories: []string{"acme/*"}}},
		deploy.Route{Function: "ended", Filter: deploy.Filter{If: `body.action == "opened"`}},
	)
	for branch, want := range map[string][]string{
		"main": {"Fetch", "LaunchRequest"}, "release/1": {"HelloIntent", "LaunchRequest"}, "topic": {"LaunchRequest"},
	} {
		if a := g.push(pushOf(branch)); a.StatusCode != 202 {
			t.Fatalf("got %d %s", a.StatusCode, a.body)
		}
		if got := g.functions(len(want)); !slices.Equal(got, want) {
			t.Errorf("%s runs %v, want %v", branch, got, want)
		}
	}
	g.push(`{"action":"closed"}`, "X-GitHub-Event", "issues").want(t, 202, `{"status":"ignored"}`+"\n")
	g.idle()
	if log := g.log.String(); strings.Contains(log, "WARN") {
		t.Errorf("a filter failed: %s", log)
	}
}

func TestFilter_ThatCannotBeAskedLetsTheEventThroughAndSaysSo(t *testing.T) {
	g := start(t)
	g.routed(deploy.Route{Function: "Fetch", Filter: deploy.Filter{If: `body.ref > 1`}})
	g.push(pushOf("swordfish"))
	g.event()
	log := g.log.String()
	if !strings.Contains(log, `level=WARN msg="a filter could not be asked, so the event passed it"`) || !strings.Contains(log, "source=github-acme function=Fetch events=1") {
		t.Errorf("log: %s", log)
	}
	if strings.Contains(log, "swordfish") {
		t.Errorf("the log quotes the event: %s", log)
	}
	g.routed(deploy.Route{Function: "Fetch", Filter: deploy.Filter{Branches: []string{"none"}}})
	g.push(pushOf("main") + strings.Repeat(" ", deploy.MaxFilterPayload))
	g.event()
	if log := g.log.String(); !strings.Contains(log, "filters look into 4194304 at most") {
		t.Errorf("log: %s", log)
	}
}

func TestFilter_SeesEachRecordOfARequestByItself(t *testing.T) {
	g := start(t)
	h, err := newHook(&deploy.Trigger{
		Config: trigger.Config{Kind: trigger.GitHub, Insecure: true}, Name: "split", Path: "/split", Routes: []deploy.Route{
			{Function: "Fetch", Filter: deploy.Filter{If: `body.n > 1`}},
			{Function: "HelloIntent", Filter: deploy.Filter{Events: []string{"b"}}},
			{Function: "ended", Filter: deploy.Filter{If: `body.n.startsWith("x")`}},
		},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	run := fresh()
	h.verify = func(context.Context, trigger.Request) (trigger.Event, error) {
		return trigger.Event{Answer: trigger.AnswerStored, Form: "of the whole", Records: []trigger.Record{
			{Name: "a", Identity: "a" + run, Body: []byte(`{"n":1}`)}, {Name: "b", Identity: "b" + run, Body: []byte(`{"n":2}`)}, {Name: "a", Body: []byte(`{}`)},
		}}, nil
	}
	table := *g.server.current()
	table.hooks = map[string]*hook{"/split": h}
	g.server.table.Store(&table)
	a := g.do("POST", "/split", nil, strings.NewReader(`{}`))
	if got := g.functions(4); !slices.Equal(got, []string{"Fetch", "HelloIntent", "ended", "ended"}) || !strings.Contains(a.body, `"count":4`) {
		t.Errorf("%v were run: %s", got, a.body)
	}
	if log := g.log.String(); strings.Count(log, "a filter could not be asked") != 1 || !strings.Contains(log, "function=ended events=2") {
		t.Errorf("want one line for a route: %s", log)
	}
}

func TestFilter_ThatDoesNotCompileLeavesTheTriggerOut(t *testing.T) {
	m := manifest()
	m.Triggers[1].Routes[0].Filter.If = "nothing"
	if err := Check(m); err == nil || !strings.Contains(err.Error(), "trigger on /github/acme: if: line 1, column 1: undeclared reference") {
		t.Errorf("got %v", err)
	}
}

func TestFilter_RoutesHaveIdentityOutcomeAndRetriesOfTheirOwn(t *testing.T) {
	g := start(t)
	for _, name := range []string{"Again", "Never"} {
		if err := shared.AddFunction(t.Context(), name, queue.Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	attempts := make(chan int, 10)
	again := newWorkers(shared)
	t.Cleanup(func() {
		if err := again.stop(); err != nil {
			t.Error(err)
		}
	})
	feed, err := shared.Feed("Again", queue.Retry{Attempts: 3, Initial: time.Millisecond, Max: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	again.feeds = append(again.feeds, feed)
	again.group.run(func() error {
		return feed.Slot(again.ctx, func(e *queue.Event) queue.Result {
			attempts <- e.Attempt
			if e.Attempt < 2 {
				return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionFailed, Message: "not yet"}
			}
			return queue.Result{Outcome: queue.OutcomeOK}
		})
	})
	work(t, "Never", 1, func(*queue.Event) queue.Result {
		return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionFailed, Message: "never", Final: true}
	})
	m := manifest()
	m.Functions = append(m.Functions, deploy.NewFunction("Again"), deploy.NewFunction("Never"))
	m.Triggers[1].Routes = []deploy.Route{
		{Function: "Fetch", Filter: deploy.Filter{Branches: []string{"main"}}},
		{Function: "Again", Filter: deploy.Filter{If: `body.ref.endsWith("/main")`}},
		{Function: "Never", Filter: deploy.Filter{Repositories: []string{"acme/site"}, Events: []string{"push"}}},
	}
	g.catalog.Set(m)
	body := pushOf("main")
	first := g.push(body)
	if first.StatusCode != 202 || !strings.Contains(first.body, `"count":3`) {
		t.Fatalf("got %d %s", first.StatusCode, first.body)
	}
	states := map[string]queue.Record{}
	within(t, "all three have ended", func() bool {
		records, err := g.queue.List(t.Context(), queue.Filter{Kind: "event", Since: g.begin})
		if err != nil || len(records) != 3 {
			t.Fatalf("got %d records, %v", len(records), err)
		}
		for _, r := range records {
			states[r.Function] = r
		}
		return states["Fetch"].State == queue.StateOK && states["Again"].State == queue.StateOK && states["Never"].State == queue.StateDead
	})
	if f, a, n := states["Fetch"], states["Again"], states["Never"]; len(f.Attempts) != 1 || len(a.Attempts) != 3 || len(n.Attempts) != 1 ||
		f.ID == a.ID || a.ID == n.ID || f.ID == n.ID || len(attempts) != 3 {
		t.Errorf("got %+v", states)
	}
	// Sent again, only the dead one runs again, each under its first id.
	again2 := g.push(body).body
	for name, mark := range map[string]string{"Fetch": `"duplicate":true`, "Again": `"duplicate":true`, "Never": `"replay":true`} {
		if want := fmt.Sprintf(`{"id":%q,"function":%q,%s}`, states[name].ID, name, mark); !strings.Contains(again2, want) {
			t.Errorf("got %s, want %s", again2, want)
		}
	}
}
