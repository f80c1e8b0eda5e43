package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// push is one delivery of a sender.
type push struct {
	work
	function string
	sent     time.Time // first try
	acked    time.Time // 202; zero when there was none
	event    string    // the id that the 202 named
}

// sender delivers events as GitHub does, except that it repeats a delivery until it is accepted.
type sender struct {
	t      *testing.T
	public string // address of the gateway
	client *http.Client

	mu     sync.Mutex
	pushes map[string]*push
	codes  map[string]int // answers, "error" for none
}

func newSender(t *testing.T, public string) *sender {
	s := &sender{t: t, public: public, pushes: map[string]*push{}, codes: map[string]int{}}
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 3 * time.Second}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// load sends with some senders at once, each with a pause between two deliveries, until stop is called.
func (s *sender) load(seed uint64, senders int, pause time.Duration, functions ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range senders {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d-%d", i, n)
				s.deliver(ctx, work{id, chosenPlan(r), strings.Repeat("x", r.IntN(4000))}, functions[n%len(functions)])
				wait(ctx, time.Duration(r.Int64N(int64(2*pause))))
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	s.t.Cleanup(stop)
	return stop
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// deliver tries until the event is accepted. Some are sent once more after that, as a person does who presses the button
// at GitHub.
func (s *sender) deliver(ctx context.Context, w work, function string) {
	p := &push{work: w, function: function, sent: time.Now()}
	s.mu.Lock()
	s.pushes[w.ID] = p
	s.mu.Unlock()
	for !s.try(ctx, p) {
		if wait(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return
		}
	}
	if len(w.Pad)%8 == 1 && w.Plan.succeeds() { // what is dead would be replayed
		s.try(ctx, p)
	}
}

// try sends once.
func (s *sender) try(ctx context.Context, p *push) (accepted bool) {
	status, id := s.post(ctx, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[status]++
	if status != "202" {
		return false
	}
	if p.event != "" && p.event != id {
		s.t.Errorf("push %s is event %s and, sent again, event %s", p.ID, p.event, id)
	}
	if p.acked.IsZero() {
		p.acked, p.event = time.Now(), id
	}
	return true
}

// answers counts those of one kind.
func (s *sender) answers(status string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.codes[status]
}

func (s *sender) post(ctx context.Context, p *push) (status, id string) {
	body, err := json.Marshal(p.work)
	if err != nil {
		s.t.Error(err)
		return "error", ""
	}
	header, err := trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(hookSecret)}}, body, time.Now())
	if err != nil {
		s.t.Error(err)
		return "error", ""
	}
	header.Set("X-GitHub-Delivery", p.ID)
	header.Set("X-GitHub-Event", "push")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.public+"/"+strings.ToLower(p.function), bytes.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return "error", ""
	}
	req.Header = header
	resp, err := s.client.Do(req)
	if err != nil {
		return "error", ""
	}
	defer resp.Body.Close()
	var answer struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "error", ""
	}
	return fmt.Sprint(resp.StatusCode), answer.ID
}

// mustDeliver sends one event that has to be accepted, and returns it.
func (s *sender) mustDeliver(w work, function string) *push {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	s.deliver(ctx, w, function)
	p := s.pushes[w.ID]
	if p.event == "" {
		s.t.Fatalf("push %s was not accepted: %v", w.ID, s.codes)
	}
	return p
}
