package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// With a folder of its own, bench writes down the id of every push that the gateway accepted. A run that was killed is
// checked by the next one in the same folder: what was accepted must have ended, or go on and end.

const journalFile = "accepted"

// openJournal also removes what an earlier run left that is of no use: the backlog which it was draining.
func (b *bench) openJournal() (err error) {
	if err := errors.Join(os.MkdirAll(b.dir, 0o700), os.RemoveAll(filepath.Join(b.dir, "drain"))); err != nil {
		return fmt.Errorf("prepare folder: %w", err)
	}
	if b.journal, err = os.OpenFile(filepath.Join(b.dir, journalFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return nil
}

// note writes down an id. A short write to a file that is open for appending is not torn by a kill.
func (b *bench) note(id string) error {
	if b.journal == nil {
		return nil
	}
	_, err := io.WriteString(b.journal, id+"\n")
	return err
}

// checkJournal compares what an earlier run was answered with what is stored, and begins a new journal.
func (b *bench) checkJournal(ctx context.Context, out io.Writer) error {
	if b.journal == nil {
		return nil
	}
	ids, err := readIDs(b.journal)
	if err != nil || len(ids) == 0 {
		return err
	}
	q := b.gateway.queue
	balance, err := allEnded(ctx, q)
	if err != nil {
		return err
	}
	ended := 0
	err = q.Select(ctx, queue.Filter{Kind: "event"}, "", func(r queue.Record) bool {
		if ids[r.ID] && (r.State == queue.StateOK || r.State == queue.StateDead) {
			ended++
		}
		return true
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The run before was killed. Its pushes: %d accepted, %d ended, %d lost; drift of the store: %d.\n",
		len(ids), ended, len(ids)-ended, balance.Drift)
	if ended < len(ids) || balance.Drift != 0 {
		return errors.New("the store has lost what it had accepted")
	}
	return b.journal.Truncate(0)
}

func readIDs(file *os.File) (map[string]bool, error) {
	ids := map[string]bool{}
	for lines := bufio.NewScanner(file); ; {
		if !lines.Scan() {
			return ids, lines.Err()
		}
		ids[lines.Text()] = true
	}
}

// allEnded waits until nothing waits, runs or is scheduled any more.
func allEnded(ctx context.Context, q *queue.Queue) (queue.Balance, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := q.Balance(ctx)
		if err != nil && !errors.Is(err, queue.ErrIndexing) || err == nil && b.Waiting+b.Running+b.Scheduled == 0 {
			return b, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return b, context.Cause(ctx)
		}
	}
}
