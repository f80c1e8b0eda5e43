package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An event that was delivered maxDeliver times without an answer is not given out again: workers die with it. The server
// says so once. Its word is kept in a stream until the event is a dead letter.

// crashedConsumer reads FUNKER_ADVISORY.
const crashedConsumer = "crashed"

// advisory is the server's word that it delivered a message too often.
type advisory struct {
	Stream     string `json:"stream"`
	Consumer   string `json:"consumer"`
	StreamSeq  uint64 `json:"stream_seq"`
	Deliveries int    `json:"deliveries"`
}

func (a advisory) place() string { return a.Stream + "/" + strconv.FormatUint(a.StreamSeq, 10) }

// watchCrashed makes the consumer, once.
func (q *Queue) watchCrashed(ctx context.Context) (jetstream.Consumer, error) {
	c, err := q.js.CreateOrUpdateConsumer(ctx, streamAdvisory, jetstream.ConsumerConfig{
		Durable: crashedConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: DefaultAckWait,
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer of %s: %w", streamAdvisory, err)
	}
	return c, nil
}

// buryCrashed makes dead letters of the events that workers died with, as they come.
func (h *housekeeper) buryCrashed(ctx context.Context, c jetstream.Consumer) {
	for ctx.Err() == nil {
		m, err := c.Next(jetstream.FetchContext(ctx))
		if errors.Is(err, nats.ErrTimeout) {
			continue
		}
		if err == nil {
			err = h.q.buryAdvised(ctx, m)
		}
		if err != nil {
			h.complain(ctx, fmt.Errorf("read %s: %w", streamAdvisory, err))
			select {
			case <-ctx.Done():
			case <-time.After(movePause):
			}
		}
	}
}

// buryAdvised makes a dead letter of the event that an advisory names. Done twice, it makes one.
func (q *Queue) buryAdvised(ctx context.Context, m jetstream.Msg) error {
	var a advisory
	if err := json.Unmarshal(m.Data(), &a); err != nil {
		q.log.Error("advisory of the NATS server cannot be read", "error", err)
		return m.DoubleAck(ctx)
	}
	err := q.buryCrashed(ctx, a)
	if err != nil {
		return errors.Join(err, m.NakWithDelay(movePause))
	}
	return m.DoubleAck(ctx)
}

func (q *Queue) buryCrashed(ctx context.Context, a advisory) error {
	raw, err := q.message(ctx, a.Stream, a.StreamSeq)
	if errors.Is(err, ErrNotFound) {
		q.log.Warn("event that workers died with is gone", "place", a.place())
		return nil
	}
	if err != nil {
		return err
	}
	e, broken := readEvent(raw.Subject, raw.Header, raw.Data, a.place())
	if broken != nil {
		q.log.Warn("event that workers died with is damaged", "place", a.place(), "error", broken)
	}
	if e.Root == "" {
		e.Root = a.place()
	}
	if settled, err := q.isSettled(ctx, e.Root, a.place()); err != nil || settled {
		return err
	}
	died := Result{Code: CodeWorkerDied, Message: fmt.Sprintf("workers died with it %d times", a.Deliveries) + lastError(raw.Header)}
	e.Attempt += a.Deliveries
	letter := deadLetter(e, ReasonCrashed)
	set(letter.Header, headerCode, died.Code)
	set(letter.Header, headerError, died.Message)
	if _, err := q.store(ctx, letter); err != nil {
		return err
	}
	q.warnOfDeath(e, ReasonCrashed, died.Code)
	q.logOutcome(line{event: e, result: died, outcome: OutcomeLost, root: e.Root})
	q.logOutcome(line{event: e, result: died, outcome: OutcomeDead, root: e.Root, reason: ReasonCrashed})
	return nil
}
