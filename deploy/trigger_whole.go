package deploy

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// finish looks at the trigger as a whole and at those before it.
func (r *triggerReader) finish() {
	if r.t.Kind != trigger.Alexa {
		r.routed()
	}
	r.verified()
	r.uniquePath()
	r.uniqueSource()
	if len(r.faults) == r.before {
		r.nameless()
		r.usable()
	}
}

// nameless refuses a filter by name where events have none.
func (r *triggerReader) nameless() {
	var needs string
	switch {
	case r.t.Kind == trigger.Firehose && !r.t.Split:
		needs = "split: true here: a whole batch of Firehose has no name, and would never run a function"
	case r.t.Kind == trigger.Webhook && r.t.EventFrom == "":
		needs = "event: where a request has the name of its event, such as event: X-Event or event: /type"
	default:
		return
	}
	if slices.ContainsFunc(r.t.Routes, func(route Route) bool { return len(route.Filter.Events) > 0 }) {
		r.fault(cmp.Or(r.keys["events"], r.keys["routes"]), "events needs %s", needs)
	}
}

// usable finds settings that do not agree, and what only the package trigger knows
// of secrets, such as that one is no key of the sender's form.
func (r *triggerReader) usable() {
	if key, err := trigger.Check(r.t.Config); err != nil {
		r.fault(cmp.Or(r.keys[key], r.kind), "%v", err)
		return
	}
	if !r.options.reads(r.t) {
		return
	}
	if _, err := trigger.New(r.t.Config, noFetch); err != nil {
		r.fault(r.kind, "%v", err)
	}
}

// noFetch is what a verifier fetches with that is never asked.
func noFetch(context.Context, string) ([]byte, error) {
	return nil, errors.New("nothing is fetched while a manifest is read")
}

// routed turns the keys of the one route into it.
func (r *triggerReader) routed() {
	switch at, given := r.keys["routes"], r.route.given(r.keys); {
	case at != nil && given != "":
		r.fault(r.keys[given], "%s and routes exclude each other: put it into one of the routes", given)
	case at == nil && r.keys["function"] == nil:
		r.fault(r.kind, "the %s has no function: add function: <name>, or routes for several", r.what)
	case at == nil:
		r.t.Routes = []Route{r.route.Route}
	}
}

// verified sees to it that a trigger without any check is one on purpose.
func (r *triggerReader) verified() {
	switch r.t.Kind {
	case trigger.Alexa:
		r.alexaVerified()
		return
	case trigger.SNS:
		r.snsVerified()
		return
	}
	check, add := "secret-file", "secret-file: <file>"
	if r.t.Kind == trigger.GitLab && r.keys[check] == nil {
		check, add = signingSecret, signingSecret+": <file> or "+add
	}
	switch given := r.keys[check] != nil; {
	case given && r.t.Insecure:
		r.fault(r.keys["insecure"], "insecure: true and %s exclude each other: remove one", check)
	case !given && !r.t.Insecure:
		r.fault(r.kind, "nothing verifies the %s: add %s, or insecure: true (everybody may call)", r.what, add)
	}
}

func (r *triggerReader) uniquePath() {
	if r.t.Path == "" {
		return
	}
	where := cmp.Or(r.keys["path"], r.kind)
	if before, taken := r.paths[r.t.Path]; taken {
		r.fault(where, "path %s belongs to the trigger of line %d: give this one another path", r.t.Path, before)
		return
	}
	r.paths[r.t.Path], _ = position(where)
}

func (r *triggerReader) uniqueSource() {
	if nameless := r.t.Kind == trigger.Alexa && r.keys["name"] == nil; r.t.Name == "" && !nameless {
		return
	}
	source := r.t.Source()
	if before, taken := r.sources[source]; taken {
		r.fault(r.kind, "the trigger of line %d is called %s too: give this one another name", before, source)
		return
	}
	r.sources[source], _ = position(r.kind)
}
