package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Matcher is a Filter that events are asked of. It is safe for concurrent use.
type Matcher struct {
	events []string
	checks []check
}

// check is one condition that an event has to meet.
type check func(*Incoming) (bool, error)

// FilterError says why a filter could not be asked of an event.
type FilterError struct {
	Reason string // nothing of the event is in it
	Detail string // may quote the event: for people who may see that; "" when there is no more to say
}

func (e *FilterError) Error() string { return e.Reason }

// NewMatcher makes a filter of a trigger of that kind ready. It fails for what a
// manifest that was parsed does not have: an expression with faults, or a key
// that the kind does not have.
func NewMatcher(kind string, f Filter) (*Matcher, error) {
	m := &Matcher{events: slices.Clone(f.Events)}
	return m, errors.Join(
		m.addForge(kind, f),
		m.addObjects(kind, f),
		m.addCondition(f.If),
	)
}

// Passes reports whether an event passes the filter. What the filter asks for
// and the event does not have is a no. An error, which is a *FilterError, means
// that a part of the filter could not be asked, for another reason: the event
// then passes, unless another part says no, so that nothing is lost.
func (m *Matcher) Passes(in *Incoming) (bool, error) {
	if len(m.events) > 0 && !slices.Contains(m.events, in.Event) {
		return false, nil
	}
	var failed error
	for _, passes := range m.checks {
		yes, err := passes(in)
		if err == nil && !yes {
			return false, nil
		}
		failed = cmp.Or(failed, err)
	}
	return true, failed
}

// add makes a check of patterns; texts finds in a decoded payload what they are for.
func (m *Matcher) add(patterns []string, texts func(any) []string) error {
	if len(patterns) == 0 {
		return nil
	}
	g, err := newGlob(patterns)
	m.checks = append(m.checks, func(in *Incoming) (bool, error) {
		payload, err := in.decode()
		return err == nil && g.matchesAny(texts(payload)), err
	})
	return err
}

// misplaced is about a key that triggers of a kind do not have.
func misplaced(key, kind string) error {
	return fmt.Errorf("a %s trigger has no %s", kind, key)
}
