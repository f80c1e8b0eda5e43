package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// clock is the form of a time of day that is exact enough to order attempts.
const clock = "15:04:05.000"

func exactly(t time.Time) string { return t.Local().Format(time.DateOnly + " " + clock) }

// zone is that of the times in a table.
func zone() string { return time.Now().Format("MST") }

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func printRecords(w io.Writer, records []queue.Record) error {
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "no events")
		return err
	}
	t := newTable(w)
	fmt.Fprintf(t, "ID\tTIME (%s)\tKIND\tSOURCE\tFUNCTION\tATTEMPTS\tBYTES\tOUTCOME\n", zone())
	for _, r := range records {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", r.ID, r.Time.Local().Format(time.DateTime), r.Kind, r.Source, r.Function,
			attemptsOf(r), r.Size, outcomeText(r))
	}
	return t.Flush()
}

// printChosen is printRecords for records whose attempts were not read.
func printChosen(w io.Writer, records []queue.Record) error {
	t := newTable(w)
	fmt.Fprintf(t, "ID\tTIME (%s)\tKIND\tSOURCE\tFUNCTION\tBYTES\tOUTCOME\n", zone())
	for _, r := range records {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", r.ID, r.Time.Local().Format(time.DateTime), r.Kind, r.Source, r.Function, r.Size, outcomeText(r))
	}
	return t.Flush()
}

// attemptsOf counts what the function had to do with, in all runs.
func attemptsOf(r queue.Record) (n int) {
	for _, a := range r.Attempts {
		if a.Outcome != queue.OutcomeDropped {
			n++
		}
	}
	return n
}

// outcomeText is where an event stands, in a few words.
func outcomeText(r queue.Record) string {
	switch r.State {
	case queue.StateRetry:
		return "retry " + until(r.Next)
	case queue.StateDead:
		return "dead: " + string(r.Reason)
	}
	return string(r.State)
}

// until says how far off a time is: "in 34s".
func until(t time.Time) string {
	d := time.Until(t)
	if d <= 0 {
		return "now"
	}
	return "in " + max(d.Round(time.Second), time.Second).String()
}

func printRecord(w io.Writer, r queue.Record) error {
	t := newTable(w)
	fmt.Fprintf(t, "id\t%s\nkind\t%s\nstored as\t%s\ntime\t%s\nsource\t%s\nfunction\t%s\noutcome\t%s\n",
		r.ID, r.Kind, r.Origin, exactly(r.Time), r.Source, r.Function, outcomeText(r))
	if r.DeadAs != "" {
		fmt.Fprintf(t, "dead letter\t%s\n", r.DeadAs)
	}
	if r.ReplayOf != "" {
		fmt.Fprintf(t, "replay of\t%s, edited\n", r.ReplayOf)
	}
	if r.Replaced != "" {
		fmt.Fprintf(t, "replaced by\t%s\n", r.Replaced)
	}
	if r.Note != "" {
		fmt.Fprintf(t, "note\t%s\n", r.Note)
	}
	printStory(t, r)
	if err := t.Flush(); err != nil {
		return err
	}
	return printBody(w, r.Body)
}

// printStory prints what came with the event, and what came of it.
func printStory(t *tabwriter.Writer, r queue.Record) {
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(t, "header\t%s: %s\n", k, oneLine(r.Header[k]))
	}
	for _, a := range r.Attempts {
		at := exactly(a.Time)
		if a.Outcome == queue.OutcomeDropped {
			fmt.Fprintf(t, "dropped\t%s\n", at)
			continue
		}
		fmt.Fprintf(t, "%s\t%s %s\n", attemptName(a), at, attemptLine(a))
		if a.Reply != "" {
			fmt.Fprintf(t, "reply\t%s\n", oneLine(a.Reply))
		}
	}
}

// oneLine replaces what would move the cursor of a terminal, or do worse.
func oneLine(s string) string { return withoutControls(s, "") }

func withoutControls(s, keep string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !strings.ContainsRune(keep, r) {
			return ' '
		}
		return r
	}, s)
}

// shownBody is how much of a body a terminal shows, in bytes.
const shownBody = 64 << 10

func printBody(w io.Writer, body queue.Body) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		pretty.Reset()
		pretty.Write(body)
	}
	text := strings.TrimSpace(pretty.String())
	if isTerminal(w) && len(text) > shownBody {
		text = strings.ToValidUTF8(text[:shownBody], "") + fmt.Sprintf("\n… %d bytes in all; -o json prints them", len(body))
	}
	_, err := fmt.Fprintf(w, "\n%s\n", withoutControls(text, "\n\t"))
	return err
}

// attemptName is "attempt 2". What ended an event before an attempt has no number.
func attemptName(a queue.Attempt) string {
	if a.Number == 0 {
		return "no attempt"
	}
	return fmt.Sprintf("attempt %d", a.Number)
}

// attemptLine is one attempt in a line.
func attemptLine(a queue.Attempt) string {
	s := a.Function + " "
	took := a.Duration.Round(10 * time.Microsecond).String()
	switch a.Outcome {
	case queue.OutcomeOK:
		s += "ok in " + took
	case queue.OutcomeRetry, queue.OutcomeFailed:
		s += "failed after " + took
	case queue.OutcomeDead:
		if s += "given up"; a.Duration > 0 {
			s = a.Function + " failed after " + took
		}
	default:
		s += string(a.Outcome)
	}
	if a.ReplayOf != "" {
		s += " (replay of " + a.ReplayOf + ")"
	}
	for _, why := range []string{a.Code, a.Error} {
		if why != "" {
			s += ": " + oneLine(why)
		}
	}
	switch a.Outcome {
	case queue.OutcomeRetry:
		s += "; again at " + a.Next.Local().Format(clock)
	case queue.OutcomeDead:
		s += "; dead: " + string(a.Reason)
	}
	return s
}
