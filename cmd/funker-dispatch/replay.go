package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// shownFailures is how many failures of a bulk are printed; the others are only counted.
const shownFailures = 20

// bulkFlags are the flags of the commands that work on many events.
type bulkFlags struct {
	verb   string // what is done to them: "replayed"
	dryRun bool
	after  string
	rate   int
	out    *format
}

func (b *bulkFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&b.dryRun, "dry-run", false, "print what would be "+b.verb+", and do nothing")
	f.StringVar(&b.after, "after", "", "go on after this one, where the same command was stopped")
	f.IntVar(&b.rate, "rate", 100, "how many per second; 0: as fast as possible")
	b.out = outputFlag(cmd)
}

// check returns an error unless a person chose either by arguments or by some of the flags.
func (b *bulkFlags) check(cmd *cobra.Command, args []string, flags ...string) error {
	byFlag := slices.ContainsFunc(flags, cmd.Flags().Changed)
	switch list := "--" + strings.Join(flags, ", --"); {
	case b.rate < 0:
		return usagef("--rate %d: take how many per second, or 0 for as fast as possible", b.rate)
	case len(args) == 0 && !byFlag:
		return usagef("name what to %s, or choose it with %s", cmd.Name(), list)
	case len(args) > 0 && byFlag:
		return usagef("name what to %s, or choose it with %s, but not both", cmd.Name(), list)
	}
	return nil
}

// chosen is what a command works on.
type chosen struct {
	refs  queue.References
	total int               // as far as it is known
	named bool              // one by one on the command line
	fixed map[string]string // flags that the command to go on needs in place of its own
}

// named chooses the references of a command line that come after one of them.
func named(refs []string, after string) (chosen, error) {
	if after != "" {
		i := slices.Index(refs, after)
		if i < 0 {
			return chosen{}, usagef("--after %q: it is not among the arguments", after)
		}
		refs = refs[i+1:]
	}
	return chosen{total: len(refs), named: true, refs: func(_ context.Context, visit func(string) error) error {
		for _, ref := range refs {
			if err := visit(ref); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// run does something to all that was chosen and prints what do says of each, or how many there were.
func (b *bulkFlags) run(ctx context.Context, cmd *cobra.Command, args []string, c chosen, do func(context.Context, string) (string, error)) error {
	stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	lines := c.named || *b.out == "json"
	p := newProgress(stderr, b.verb, c.total)
	p.bar = p.bar && (!lines || !isTerminal(stdout))
	var only error
	work := queue.Bulk[string]{Do: do, Rate: b.rate, Report: func(r queue.Reach, line string, err error) error {
		if c.total == 1 {
			only = err
		} else if err != nil && queue.Hopeless(err) == nil { // the reason to stop is told at the end
			p.clear()
			printFailure(stderr, r.Failed, err)
		}
		if err == nil && lines {
			if _, err := io.WriteString(stdout, line); err != nil {
				return err
			}
		}
		p.tell(r)
		return nil
	}}
	r, err := work.Run(ctx, c.refs)
	p.clear()
	switch {
	case only != nil:
		return only
	case err != nil:
		return b.stopped(cmd, args, c, r, err)
	case !lines:
		fmt.Fprintf(stdout, "%d %s\n", r.Done, b.verb)
	}
	if r.Failed > 0 {
		return fmt.Errorf("%d of %d could not be %s", r.Failed, r.Sum(), b.verb)
	}
	return nil
}

// printFailure prints the n-th failure, when it is one of the first.
func printFailure(w io.Writer, n int, err error) {
	switch {
	case n <= shownFailures:
		fmt.Fprintln(w, err)
	case n == shownFailures+1:
		fmt.Fprintln(w, "more failures are counted, and not printed")
	}
}

// stopped is the error of a bulk that did not get to its end: how far it got, why, and the command to go on.
func (b *bulkFlags) stopped(cmd *cobra.Command, args []string, c chosen, r queue.Reach, why error) error {
	fixed := map[string]string{}
	maps.Copy(fixed, c.fixed)
	if r.Last != "" {
		fixed["after"] = r.Last
	}
	text := fmt.Sprintf("stopped after %d of %d", r.Sum(), max(c.total, r.Sum()))
	if r.Failed > 0 {
		text += fmt.Sprintf(" (%d %s, %d failed)", r.Done, b.verb, r.Failed)
	}
	if cmd.Context().Err() == nil {
		return fmt.Errorf("%s: %w\nGo on with:\n  %s", text, why, commandLine(cmd, args, fixed))
	}
	return fmt.Errorf("%s\nGo on with:\n  %s", text, commandLine(cmd, args, fixed))
}

// commandLine writes a command as it was given, with some flags set to something else.
func commandLine(cmd *cobra.Command, args []string, fixed map[string]string) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		value, ok := fixed[f.Name]
		if !ok && !f.Changed {
			return
		}
		words = append(words, "--"+f.Name)
		if !ok {
			value = f.Value.String()
		}
		if f.Value.Type() != "bool" {
			words = append(words, shellWord(value))
		}
	})
	for _, a := range args {
		words = append(words, shellWord(a))
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[\w./:@=+,-]+$`)

// shellWord quotes a word where a shell needs it.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return shellQuote(s)
}

func replayCommand(admin *adminFlags) *cobra.Command {
	var to, data string
	var flags eventFlags
	b := bulkFlags{verb: "replayed"}
	cmd := &cobra.Command{
		Use: "replay [ID…]", Short: "Run events or calls again, as events: one, many, or all that match",
		Long: `replay runs stored events or calls again. Nobody waits for the reply; see it with "events show". The original
record stays, and the replay is marked with it.

Name the events, or choose them with flags. By flags, what will still run by itself (waiting, running, retry) and
what was dropped or replaced is left out, unless --outcome asks for it. Ctrl-C stops a replay and prints the command to
go on.

With --edited one event runs with another body, as a new event with an id of its own. When the original is dead, its
dead letter is dealt with in the same step.`,
		Example: `  funker-dispatch events replay 01M842QYXBY30YRMXP32G27KPE
  funker-dispatch events replay --function CommitFetch --since 2h --dry-run
  funker-dispatch events replay --outcome dead --since 24h --to CommitFetchOld --rate 20
  funker-dispatch events replay 01M842QYXBY30YRMXP32G27KPE --edited @mended.json`,
	}
	flags.add(cmd.Flags(), "event")
	cmd.Flags().StringVar(&to, "to", "", "give them to this function in place of their own")
	cmd.Flags().StringVarP(&data, "edited", "d", "", "the body of one event in place of its own: JSON, @FILE, or @- for standard input")
	b.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.check(cmd, args, "function", "source", "outcome", "since", "until"); err != nil {
			return err
		}
		if cmd.Flags().Changed("edited") {
			return replayEdited(admin, cmd, args, edit{data, to, b.out})
		}
		f, err := flags.parse()
		if err != nil {
			return err
		}
		r, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if r != nil && len(args) == 0 {
			return b.runChosen(cmd, r, "/api/v1/events/replay", chosenBy(eventQuery(f), "to", to))
		}
		if r != nil {
			return b.runNamed(cmd, args, replayer(r.replayEvent, to, b.out))
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			if err := errors.Join(checkTo(ctx, q, to), q.CheckNames(ctx, f.Function, f.Source)); err != nil {
				return err
			}
			c := eventChoice{queue: q, filter: f, named: args, after: b.after}
			if b.dryRun {
				return c.preview(ctx, cmd.OutOrStdout(), *b.out)
			}
			chosen, err := c.chosen(ctx)
			if err != nil {
				return err
			}
			err = b.run(ctx, cmd, args, chosen, replayer(replayOf(q), to, b.out))
			if c.left > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d left out: still under way, or dropped\n", c.left)
			}
			return err
		})
	}
	return cmd
}

// checkTo returns an error when nothing would run what is given to a function.
func checkTo(ctx context.Context, q *queue.Queue, to string) error {
	if to == "" {
		return nil
	}
	return q.HasFunction(ctx, to)
}

// replayOf replays an event, or says which one it could not.
func replayOf(q *queue.Queue) func(ctx context.Context, ref, to string) (queue.Replayed, error) {
	return func(ctx context.Context, ref, to string) (queue.Replayed, error) {
		r, err := q.Replay(ctx, ref, to)
		if err != nil {
			err = fmt.Errorf("replay %s: %w", ref, err)
		}
		return r, err
	}
}

// replayer replays one event and says so.
func replayer(replay func(ctx context.Context, ref, to string) (queue.Replayed, error), to string, out *format) func(context.Context, string) (string, error) {
	return func(ctx context.Context, ref string) (string, error) {
		r, err := replay(ctx, ref, to)
		if err != nil {
			return "", err
		}
		if *out == "json" {
			return jsonLine(r)
		}
		return fmt.Sprintf("%s queued for %s as %s, replay of %s\n", r.ID, r.To, r.As, r.From), nil
	}
}

// eventChoice is what a person chose: some events by name, or all that a filter chooses.
type eventChoice struct {
	queue  *queue.Queue
	filter queue.Filter
	named  []string
	after  string
	left   int // how many the filter would choose, but are still under way or dropped
}

// each visits the events that the filter chooses, oldest first.
func (c *eventChoice) each(ctx context.Context, visit func(queue.Record) error) (err error) {
	c.left, err = c.queue.SelectEnded(ctx, c.filter, c.after, visit)
	return err
}

// fixedTimes are the flags that mean the same span later.
func fixedTimes(since, until time.Time) map[string]string {
	fixed := map[string]string{"until": until.UTC().Format(time.RFC3339Nano)}
	if !since.IsZero() {
		fixed["since"] = since.UTC().Format(time.RFC3339Nano)
	}
	return fixed
}

func (c *eventChoice) chosen(ctx context.Context) (chosen, error) {
	if len(c.named) > 0 {
		return named(c.named, c.after)
	}
	if c.filter.Until.IsZero() {
		c.filter.Until = time.Now() // what comes in meanwhile was not meant
	}
	total, err := c.queue.Count(ctx, c.filter, c.after)
	return chosen{total: total, fixed: fixedTimes(c.filter.Since, c.filter.Until), refs: func(ctx context.Context, visit func(string) error) error {
		return c.each(ctx, func(r queue.Record) error { return visit(r.Origin) })
	}}, err
}

// preview prints what would be replayed.
func (c *eventChoice) preview(ctx context.Context, w io.Writer, out format) error {
	p := preview[queue.Record]{w: w, json: out == "json", table: printChosen}
	add := func(r queue.Record) error { return p.add(r, r.Function) }
	if len(c.named) == 0 {
		if err := c.each(ctx, add); err != nil {
			return err
		}
		return p.print("replayed")
	}
	chosen, err := named(c.named, c.after)
	if err != nil {
		return err
	}
	var missing error
	err = chosen.refs(ctx, func(ref string) error {
		r, err := c.queue.Get(ctx, ref)
		if err != nil {
			missing = errors.Join(missing, err)
			return nil
		}
		return add(r)
	})
	return errors.Join(err, p.print("replayed"), missing)
}

func jsonLine(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b) + "\n", err
}
