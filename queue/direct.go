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

// get reads a message as the API of a stream has it: by {"seq"}, {"next_by_subj"} or {"last_by_subj"}. Its headers say the
// subject, the sequence and the time. A message that is not there has the status 404.
//
// Any server of a cluster answers, also one that does not have the newest messages yet: what it does not have, the leader is
// asked for. What is stored at a sequence never changes.
func (q *Queue) get(ctx context.Context, stream string, request []byte) (*nats.Msg, error) {
	m, err := q.request(ctx, q.prefix+"DIRECT.GET."+stream, request)
	if err == nil && m.Header.Get("Status") == "404" && q.clustered() {
		return q.getFromLeader(ctx, stream, request)
	}
	return m, err
}

// getNewest is get for what may have been replaced.
func (q *Queue) getNewest(ctx context.Context, stream string, request []byte) (*nats.Msg, error) {
	if q.clustered() {
		return q.getFromLeader(ctx, stream, request)
	}
	return q.get(ctx, stream, request)
}

func (q *Queue) getFromLeader(ctx context.Context, stream string, request []byte) (*nats.Msg, error) {
	m, err := q.request(ctx, q.prefix+leaderGet+stream, request)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	if answer.Error != nil {
		if errors.Is(answer.Error, jetstream.ErrMsgNotFound) {
			return &nats.Msg{Header: nats.Header{"Status": {"404"}}}, nil
		}
		return nil, answer.Error
	}
	stored := answer.Message
	h := nats.Header{}
	if len(stored.Header) > 0 {
		if h, err = nats.DecodeHeadersMsg(stored.Header); err != nil {
			return nil, fmt.Errorf("headers of %s/%d: %w", stream, stored.Seq, err)
		}
	}
	h.Set(jetstream.SubjectHeader, stored.Subject)
	h.Set(jetstream.SequenceHeader, strconv.FormatUint(stored.Seq, 10))
	h.Set(jetstream.TimeStampHeaer, stored.Time.Format(time.RFC3339Nano))
	return &nats.Msg{Header: h, Data: stored.Data}, nil
}

const leaderGet = "STREAM.MSG.GET."
