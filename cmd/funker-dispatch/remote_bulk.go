package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// runChosen does something to what a filter chooses at a gateway somewhere else, which works on it: about a second's worth
// at a time, so that progress can be told.
func (b *bulkFlags) runChosen(cmd *cobra.Command, r *remote, path string, parameters url.Values) error {
	if b.after != "" || *b.out == "json" {
		return usagef("with --url and a filter there is no --after and no -o json: the gateway chooses, and says how many there were")
	}
	if b.dryRun {
		p, err := r.preview(cmd.Context(), path, parameters)
		if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d would be %s%s\n", p.Chosen, b.verb, ofEach(p.Functions))
		}
		return err
	}
	parameters.Set("rate", strconv.Itoa(b.rate))
	parameters.Set("limit", strconv.Itoa(min(max(b.rate, 1), queue.MaxLimit)))
	if b.rate == 0 {
		parameters.Set("limit", strconv.Itoa(queue.MaxLimit))
	}
	var reach queue.Reach
	progress := newProgress(cmd.ErrOrStderr(), b.verb, 0)
	err := r.bulk(cmd.Context(), path, parameters, func(report console.BulkReport) {
		for i, f := range report.Failures {
			progress.clear()
			printFailure(cmd.ErrOrStderr(), reach.Failed+i+1, about(f.Ref, &f.Problem))
		}
		reach.Done, reach.Failed = reach.Done+report.Done, reach.Failed+report.Failed
		progress.tell(reach)
	})
	progress.clear()
	if err != nil {
		return fmt.Errorf("stopped after %d %s and %d failed, and the gateway may have gone a little further: %w", reach.Done, b.verb, reach.Failed, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d %s\n", reach.Done, b.verb)
	if reach.Failed > 0 {
		return fmt.Errorf("%d of %d could not be %s", reach.Failed, reach.Sum(), b.verb)
	}
	return nil
}

// ofEach is ": File 3, Saw 30" when there is more than one function.
func ofEach(functions map[string]int) string {
	if len(functions) < 2 {
		return ""
	}
	var counts []string
	for _, f := range slices.Sorted(maps.Keys(functions)) {
		counts = append(counts, fmt.Sprintf("%s %d", f, functions[f]))
	}
	return ": " + strings.Join(counts, ", ")
}

// preview asks how many a filter chooses.
func (r *remote) preview(ctx context.Context, path string, parameters url.Values) (p console.BulkPreview, err error) {
	asked := maps.Clone(parameters)
	asked.Set("dry_run", "true")
	_, err = r.ask(ctx, http.MethodPost, path, asked, "", &p)
	return p, err
}

// bulk sends the requests of a bulk, one after the other, and tells what each did.
func (r *remote) bulk(ctx context.Context, path string, parameters url.Values, tell func(console.BulkReport)) error {
	for {
		var report console.BulkReport
		header, err := r.ask(ctx, http.MethodPost, path, parameters, "", &report)
		if err != nil {
			return err
		}
		tell(report)
		if report.Stopped != nil {
			return report.Stopped
		}
		link, _, more := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), `>; rel="next"`)
		if !more {
			return nil
		}
		next, err := url.Parse(link)
		if err != nil {
			return errors.New("the gateway names no request to go on with")
		}
		parameters = next.Query()
	}
}

// chosenBy are the parameters of a bulk: those of a list, without its limit.
func chosenBy(parameters url.Values, more ...string) url.Values {
	parameters.Del("limit")
	maps.Copy(parameters, query(more...))
	return parameters
}
