package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoSource means that nothing that is stored came through a source.
var ErrNoSource = errors.New("unknown source")

// CheckNames refuses the names of a filter that can choose nothing, as misspelt ones do: a function without consumers of
// which nothing is stored, and a source of which nothing is stored although something else is. "" is any. Errors:
// ErrNoFunction, ErrNoSource, ErrName.
func (q *Queue) CheckNames(ctx context.Context, function, source string) error {
	if function == "" && source == "" {
		return nil
	}
	sources, functions, err := q.storedNames(ctx)
	if err != nil {
		return err
	}
	if function != "" && !functions[function] {
		if err := q.HasFunction(ctx, function); err != nil {
			return err
		}
	}
	if source != "" && len(sources) > 0 && !sources[source] {
		return fmt.Errorf("%w: %s%s", ErrNoSource, shorten(source, 80), listed(slices.Sorted(maps.Keys(sources))))
	}
	return nil
}

// storedNames are those of all stored events, calls and dead letters.
func (q *Queue) storedNames(ctx context.Context) (sources, functions map[string]bool, err error) {
	sources, functions = map[string]bool{}, map[string]bool{}
	for _, name := range []string{streamEvents, streamCalls, streamDead} {
		stream, err := q.js.Stream(ctx, name)
		if err != nil {
			return nil, nil, failed(err, "open "+name)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			return nil, nil, failed(err, "list names in "+name)
		}
		for subject := range info.State.Subjects {
			source, function := namesIn(subject)
			sources[source], functions[function] = true, true
		}
	}
	return sources, functions, nil
}

// noFunction is ErrNoFunction, with the functions that there are.
func (q *Queue) noFunction(ctx context.Context, function string) error {
	known := ""
	if p, err := positionsOf(ctx, q.js, shelfRetry); err == nil { // else the name of the function has to do
		var names []string
		for token := range p[shelfRetry] {
			names = append(names, untoken(token))
		}
		slices.Sort(names)
		known = listed(names)
	}
	return fmt.Errorf("%w: %s%s", ErrNoFunction, shorten(function, 80), known)
}

// listedMost is how many names an error lists.
const listedMost = 10

// listed is what an error says of the names that would have been right, unless they are many.
func listed(names []string) string {
	if len(names) == 0 || len(names) > listedMost {
		return ""
	}
	return " (known: " + strings.Join(names, ", ") + ")"
}
