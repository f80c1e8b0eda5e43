package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// service answers the stock nats CLI and other processes of ours: `nats req funker.events 20`,
// `nats req funker.replay <id>`, `nats service info funker`. A request that takes its time does not hold up the next.
type service struct {
	micro.Service
	nc  *nats.Conn
	log *slog.Logger

	turn     sync.Mutex // guards stopped, and requests from one more once it waits
	stopped  bool
	requests sync.WaitGroup
}

// Stop returns when every request is answered.
func (s *service) Stop() error {
	err := s.Service.Stop()
	s.turn.Lock()
	s.stopped = true
	s.turn.Unlock()
	s.requests.Wait()
	return err
}

// begin takes a request in hand, unless the service has stopped.
func (s *service) begin(handle func()) bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	if !s.stopped {
		s.requests.Go(handle)
	}
	return !s.stopped
}

// inHand bounds how many requests an endpoint has in hand at a time.
const inHand = 64

func (q *Queue) serve() error {
	m, err := micro.AddService(q.nc, micro.Config{
		Name: "funker", Version: "1.0.0", Description: "look at and replay events and calls",
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			q.log.Error("service", "subject", e.Subject, "error", e.Description)
		},
	})
	if err != nil {
		return fmt.Errorf("register service: %w", err)
	}
	s := &service{Service: m, nc: q.nc, log: q.log}
	q.service = s
	for name, answer := range map[string]func(context.Context, string) (any, error){
		"events": func(ctx context.Context, arg string) (any, error) { return q.answerList(ctx, "event", arg) },
		"calls":  func(ctx context.Context, arg string) (any, error) { return q.answerList(ctx, "call", arg) },
		"count":  q.answerCount,
		"dead":   q.answerDead,
		"letter": func(ctx context.Context, arg string) (any, error) { return q.DeadLetter(ctx, arg) },
		"show":   q.answerShow,
		"find":   func(ctx context.Context, arg string) (any, error) { return q.answerFind(ctx, arg) },
		"replay": func(ctx context.Context, arg string) (any, error) {
			ref, to, _ := strings.Cut(arg, " ")
			return q.Replay(ctx, ref, to)
		},
		"drop":    func(ctx context.Context, arg string) (any, error) { return arg, q.Drop(ctx, arg) },
		"stats":   func(ctx context.Context, _ string) (any, error) { return q.Stats(ctx) },
		"balance": func(ctx context.Context, _ string) (any, error) { return q.Balance(ctx) },
		"usage":   func(ctx context.Context, _ string) (any, error) { return q.Usage(ctx) },
		"cluster": func(ctx context.Context, _ string) (any, error) { return q.ClusterState(ctx) },
	} {
		if err := s.add("funker."+name, publishLimit, answer); err != nil {
			return err
		}
	}
	if err := q.serveWorkers(); err != nil {
		return err
	}
	return q.listening()
}

// listening returns when the server knows of all endpoints.
func (q *Queue) listening() error {
	if err := q.nc.FlushTimeout(publishLimit); err != nil {
		return fmt.Errorf("register service: %w", err)
	}
	return nil
}

// add registers an endpoint. What it answers within the limit is sent as JSON.
func (s *service) add(subject string, limit time.Duration, answer func(context.Context, string) (any, error)) error {
	turns := make(chan struct{}, inHand)
	handle := func(r micro.Request) {
		turns <- struct{}{}
		begun := s.begin(func() {
			defer func() { <-turns }()
			s.handle(r, limit, answer)
		})
		if !begun {
			<-turns
		}
	}
	name := strings.TrimPrefix(subject, "funker.")
	if err := s.AddEndpoint(name, micro.HandlerFunc(handle), micro.WithEndpointSubject(subject)); err != nil {
		return fmt.Errorf("register endpoint %s: %w", name, err)
	}
	return nil
}

// handle answers past the request, which may not be touched any more when the endpoint has returned.
func (s *service) handle(r micro.Request, limit time.Duration, answer func(context.Context, string) (any, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	reply := &nats.Msg{Subject: r.Reply()}
	v, err := answer(ctx, strings.TrimSpace(string(r.Data())))
	if err == nil {
		reply.Data, err = json.Marshal(v)
	}
	if most := s.nc.MaxPayload(); err == nil && int64(len(reply.Data)) > most {
		err = fmt.Errorf("%w: the answer has %d bytes, and a message %d at most: ask for less", ErrArgument, len(reply.Data), most)
	}
	if err != nil {
		reply.Data, reply.Header = nil, nats.Header{micro.ErrorHeader: {oneLine(err.Error())}, micro.ErrorCodeHeader: {statusOf(err)}}
	}
	if err := s.nc.PublishMsg(reply); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.log.Error("service", "subject", r.Subject(), "error", err)
	}
}

// listRequest is the body of a request for records: JSON, or how many.
type listRequest struct {
	Filter
	After  string `json:"after,omitempty"`  // see Select
	Oldest bool   `json:"oldest,omitempty"` // a page of a selection, not the newest
}

// kindAny asks for events and calls.
const kindAny = "any"

func newListRequest(f Filter) listRequest {
	f.Kind = cmp.Or(f.Kind, kindAny)
	return listRequest{Filter: f}
}

// ErrArgument means that a filter or a request makes no sense.
var ErrArgument = errors.New("bad argument")

// readRequest reads JSON into v, or a number into limit.
func readRequest(arg string, v any, limit *int) error {
	if strings.HasPrefix(arg, "{") {
		if err := readObject(arg, v); err != nil {
			return fmt.Errorf("%w: %w", ErrArgument, err)
		}
	} else if arg != "" {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			*limit = -1
		} else {
			*limit = n
		}
	}
	if *limit < 0 || *limit > MaxLimit {
		return fmt.Errorf(`%w: the body is how many to list, 1 to %d, or a filter like {"function":"build","limit":5}`, ErrArgument, MaxLimit)
	}
	return nil
}

// readObject refuses members that v does not have: a filter that is misspelt would choose too much.
func readObject(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func readListRequest(kind, arg string) (listRequest, error) {
	var r listRequest
	if err := readRequest(arg, &r, &r.Limit); err != nil {
		return r, err
	}
	if _, err := ParseState(string(r.State)); err != nil {
		return r, fmt.Errorf("%w: %w", ErrArgument, err)
	}
	switch r.Kind = cmp.Or(r.Kind, kind); r.Kind {
	case kindAny:
		r.Kind = ""
	case "event", "call":
	default:
		return r, fmt.Errorf("%w: there is no kind %q: take event, call or any", ErrArgument, shorten(r.Kind, 40))
	}
	return r, nil
}

func (q *Queue) answerList(ctx context.Context, kind, arg string) (any, error) {
	r, err := readListRequest(kind, arg)
	if err != nil {
		return nil, err
	}
	if r.Oldest {
		r.Limit = cmp.Or(r.Limit, DefaultLimit)
		return q.oldest(ctx, r.Filter, r.After)
	}
	return q.List(ctx, r.Filter)
}

func (q *Queue) answerCount(ctx context.Context, arg string) (any, error) {
	r, err := readListRequest("event", arg)
	if err != nil {
		return nil, err
	}
	return q.Count(ctx, r.Filter, r.After)
}

func (q *Queue) answerDead(ctx context.Context, arg string) (any, error) {
	var f DeadFilter
	if err := readRequest(arg, &f, &f.Limit); err != nil {
		return nil, err
	}
	return q.DeadLetters(ctx, f)
}

// shownBody is how large a body may be that is shown to another process, which can read a larger one itself.
const shownBody = 512 << 10

func (q *Queue) answerShow(ctx context.Context, arg string) (any, error) {
	r, err := q.Get(ctx, arg)
	if len(r.Body) > shownBody {
		r.Body, r.Omitted = nil, true
	}
	return r, err
}

func (q *Queue) answerFind(ctx context.Context, arg string) (any, error) {
	r, err := q.resolve(ctx, arg)
	return r.String(), err
}

func statusOf(err error) string {
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNoFunction):
		return "404"
	case errors.Is(err, ErrArgument), errors.Is(err, ErrName):
		return "400"
	case errors.Is(err, ErrConflict):
		return "409"
	case errors.Is(err, ErrIndexing):
		return "425"
	case errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable):
		return "503"
	}
	return "500"
}
