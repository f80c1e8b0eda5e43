package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// deadFlags choose dead letters.
type deadFlags struct {
	filter queue.DeadFilter
	reason string
	span   span
}

func (d *deadFlags) add(f *pflag.FlagSet) {
	f.StringVar(&d.filter.Function, "function", "", "only those of this function")
	f.StringVar(&d.filter.Source, "source", "", "only those that came through this trigger")
	f.StringVar(&d.reason, "reason", "", "only: "+join(queue.Reasons()))
	d.span.add(f)
}

func (d *deadFlags) parse() (f queue.DeadFilter, err error) {
	f = d.filter
	if f.Reason, err = queue.ParseReason(d.reason); err != nil {
		return f, usagef("--reason: %w", err)
	}
	f.Since, f.Until, err = d.span.times()
	return f, err
}

// choose reads the choice of a command that works on dead letters.
func (d *deadFlags) choose(cmd *cobra.Command, args []string, b *bulkFlags) (queue.DeadFilter, error) {
	if err := b.check(cmd, args, "all", "function", "source", "reason", "since", "until"); err != nil {
		return queue.DeadFilter{}, err
	}
	return d.parse()
}

// deadChoice is what a person chose: some dead letters by name, or all that a filter chooses.
type deadChoice struct {
	queue  *queue.Queue
	filter queue.DeadFilter
	named  []string
	after  string
}

// letters returns what the filter chooses, oldest first.
func (c *deadChoice) letters(ctx context.Context) ([]queue.DeadLetter, error) {
	return c.queue.SelectDead(ctx, c.filter, c.after)
}

func (c *deadChoice) chosen(ctx context.Context) (chosen, error) {
	if len(c.named) > 0 {
		return named(c.named, c.after)
	}
	letters, err := c.letters(ctx)
	refs := make([]string, len(letters))
	for i, d := range letters {
		refs[i] = d.Origin
	}
	all, _ := named(refs, "")
	all.named, all.fixed = false, fixedTimes(c.filter.Since, cmp.Or(c.filter.Until, time.Now()))
	return all, err
}

// preview prints what would be done.
func (c *deadChoice) preview(ctx context.Context, w io.Writer, b bulkFlags) error {
	p := preview[queue.DeadLetter]{w: w, json: *b.out == "json", table: printLetters}
	letters, missing := c.lookUp(ctx)
	if len(c.named) == 0 {
		letters, missing = c.letters(ctx)
	}
	for _, d := range letters {
		if err := p.add(d, d.Function); err != nil {
			return err
		}
	}
	return errors.Join(p.print(b.verb), missing)
}

// lookUp returns the dead letters that were named, and says which are missing.
func (c *deadChoice) lookUp(ctx context.Context) (letters []queue.DeadLetter, missing error) {
	for _, ref := range c.named {
		d, err := c.queue.DeadLetter(ctx, ref)
		if err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		letters = append(letters, d)
	}
	return letters, missing
}
