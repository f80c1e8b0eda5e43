package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrNotJSON refuses a body that is no JSON in place of one that is: no function could be given it.
var ErrNotJSON = errors.New("the body of this event is JSON, and the new one is not")

// ReplayEdited runs a stored event or call again with another body, as a new event: it has an id of its own, is stored
// like one that a sender has sent, and its record says what it was made of. Its source, name, headers and content type
// are those of the original, which stays as it is. When the original is dead, that and the end of its dead letter are one
// step: the new event takes the place of the run that was given up, so the original is StateReplaced from then on.
//
// ref and to are as in Replay. Errors: those of Replay and Publish; ErrNotJSON.
func (q *Queue) ReplayEdited(ctx context.Context, ref, to string, body []byte) (Replayed, error) {
	original, err := q.Get(ctx, ref)
	if err != nil {
		return Replayed{}, err
	}
	if err := checkEdit(original.Body, body); err != nil {
		return Replayed{}, err
	}
	e := &Event{
		Source: original.Source, Function: original.Function, Name: original.Name, Form: original.Form, ContentType: original.Type,
		Header: original.Header, EditOf: original.Origin, Body: body,
	}
	if to != "" {
		e.Function = to
	}
	if err := q.HasFunction(ctx, e.Function); err != nil {
		return Replayed{}, err
	}
	if original.State == StateDead {
		d, err := q.DeadLetter(ctx, original.DeadAs)
		if err != nil {
			return Replayed{}, err
		}
		e.Replaces = d.Root
	}
	seq, err := q.publishNew(ctx, e)
	if err != nil {
		return Replayed{}, err
	}
	return Replayed{ID: e.ID, Run: e.ID, From: original.Origin, As: streamEvents + "/" + strconv.FormatUint(seq, 10), To: e.Function, Edited: true}, nil
}

// checkEdit says what is wrong with a body in place of another one, and where.
func checkEdit(original, edited []byte) error {
	if !json.Valid(original) || json.Valid(edited) {
		return nil
	}
	err := json.Unmarshal(edited, new(json.RawMessage))
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line, column := 1, 1
		for _, c := range edited[:min(max(int(syntax.Offset)-1, 0), len(edited))] {
			if column++; c == '\n' {
				line, column = line+1, 1
			}
		}
		return fmt.Errorf("%w: line %d, column %d: %w", ErrNotJSON, line, column, err)
	}
	return fmt.Errorf("%w: %w", ErrNotJSON, err)
}

// publishNew is Publish for an event that repeats none, and returns the sequence of its message.
func (q *Queue) publishNew(ctx context.Context, e *Event) (uint64, error) {
	p, err := newPost(e)
	if err != nil {
		return 0, err
	}
	done, err := q.admit(int64(len(e.Body) + overhead))
	if err != nil {
		return 0, err
	}
	defer done()
	if err := q.storeBody(ctx, e); err != nil {
		return 0, err
	}
	ack, err := q.store(ctx, p.message())
	if errors.Is(err, ErrFull) {
		q.dropBody(ctx, e)
	}
	if err != nil {
		return 0, err
	}
	q.accept(p, ack.Sequence)
	return ack.Sequence, nil
}

// noteEdit takes from any message of an event which dead run it took the place of.
func (l *ledger) noteEdit(e *entry) {
	if e.replaces == 0 {
		return
	}
	by := e.of()
	if e.kind == entryRecord {
		by = e.ref
	}
	if by.shelf() != shelfEvents {
		return // written by hand
	}
	if l.edited == nil {
		l.edited = map[ref]ref{}
	}
	l.edited[e.replaces] = max(l.edited[e.replaces], by)
	l.show(e.replaces)
}

// seen is the state of a run for its record: one that is dead may have been replaced.
func (l *ledger) seen(root ref, state runState) runState {
	if state == runDead && l.edited[root] != 0 {
		return runReplaced
	}
	return state
}
