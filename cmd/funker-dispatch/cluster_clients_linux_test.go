package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// numbered is an event or a call with a number of its own, and what its client knows of it.
type numbered struct {
	work
	kind     string // see below
	function string
	tries    []try
}

// The kinds of what clients send.
const (
	kindHook = "hook" // a webhook that is sent, to one gateway after the other, until one accepts it: it has a delivery id
	kindPost = "post" // an event that is sent once, whatever comes of it
	kindCall = "call" // likewise
)

// try is one request.
type try struct {
	gateway    string
	begin, end time.Time
	status     int    // 0: there was no answer
	event      string // the id that the answer named
	code       string // of a refusal
	body       string
}

// acked reports whether an event was accepted.
func (t try) acked() bool { return t.status == http.StatusAccepted }

// acked is the try that was accepted first.
func (n *numbered) acked() *try {
	for i := range n.tries {
		if n.tries[i].acked() {
			return &n.tries[i]
		}
	}
	return nil
}

// clients send to all gateways of a trio.
type clients struct {
	t        *testing.T
	gateways []*clusterGateway
	client   *http.Client

	mu   sync.Mutex
	sent map[string]*numbered
	last map[string]time.Time // gateway -> when it accepted something last
	gaps gaps
}

// gaps is how long nobody was told that his event was accepted.
type gaps struct {
	last    time.Time
	longest time.Duration
}

func (g *gaps) add(now time.Time) {
	if !g.last.IsZero() {
		g.longest = max(g.longest, now.Sub(g.last))
	}
	g.last = now
}

// clientPatience is how long a client waits for an answer.
const clientPatience = 3 * time.Second

func newClients(c *trio) *clients {
	x := &clients{t: c.t, gateways: c.gateways, sent: map[string]*numbered{}, last: map[string]time.Time{}}
	x.client = &http.Client{Timeout: clientPatience, Transport: &http.Transport{DialContext: c.network.hub.dial, MaxIdleConnsPerHost: 16}}
	c.t.Cleanup(x.client.CloseIdleConnections)
	return x
}

// load has clients of every kind send until stop is called, each some events a second.
func (x *clients) load(seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i, kind := range []string{kindHook, kindHook, kindHook, kindHook, kindPost, kindPost, kindCall, kindCall} {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				x.send(ctx, r, kind, fmt.Sprintf("%s-%d-%d", kind, i, n))
				wait(ctx, time.Duration(r.Int64N(int64(500*time.Millisecond))))
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	x.t.Cleanup(stop)
	return stop
}

// clusterPlan is what becomes of an event: often it is well, and whatever goes wrong ends within a few seconds.
func clusterPlan(r *rand.Rand, kind string) plan {
	all := []plan{planOK, planOK, planOK, planOK, planSlow, planSlow, planFail1, planFail2, planClose1, planRefuse, planAlways}
	if kind == kindCall {
		all = []plan{planEcho, planEcho, planLate}
	}
	return all[r.IntN(len(all))]
}

func (x *clients) send(ctx context.Context, r *rand.Rand, kind, id string) {
	n := &numbered{work: work{id, clusterPlan(r, kind), strings.Repeat("x", r.IntN(3000))}, kind: kind, function: []string{"Alpha", "Beta"}[r.IntN(2)]}
	x.mu.Lock()
	x.sent[id] = n
	x.mu.Unlock()
	for at := r.IntN(len(x.gateways)); ; at++ {
		g := x.gateways[at%len(x.gateways)]
		t := x.try(n, g)
		x.mu.Lock()
		n.tries = append(n.tries, t)
		if t.acked() {
			x.last[g.name] = t.end
			x.gaps.add(t.end)
		}
		x.mu.Unlock()
		again := t.acked() && len(n.tries) == 1 && len(n.Pad)%8 == 1 && n.Plan.succeeds() // as a person does who presses a button; what is dead would be replayed
		if kind != kindHook || t.acked() && !again {
			return
		}
		if wait(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return
		}
	}
}

// try sends once.
func (x *clients) try(n *numbered, g *clusterGateway) (t try) {
	t = try{gateway: g.name, begin: time.Now()}
	defer func() { t.end = time.Now() }()
	req, err := n.request(fmt.Sprintf("http://%s:%d", g.machine.address, trioPublic))
	if err != nil {
		x.t.Error(err)
		return t
	}
	resp, err := x.client.Do(req)
	if err != nil {
		return t
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return t
	}
	var answer struct {
		ID    string
		Error struct{ Code string }
	}
	if n.kind != kindCall || resp.StatusCode != http.StatusOK {
		if err := json.Unmarshal(body, &answer); err != nil {
			x.t.Errorf("%s answered %d %q to %s", g.name, resp.StatusCode, body, n.ID)
		}
	}
	t.status, t.event, t.code, t.body = resp.StatusCode, answer.ID, answer.Error.Code, string(body)
	return t
}

func (n *numbered) request(base string) (*http.Request, error) {
	body, err := json.Marshal(n.work)
	if err != nil {
		return nil, err
	}
	path := "/functions/" + n.function
	if n.kind == kindHook {
		path = "/" + strings.ToLower(n.function)
	}
	req, err := http.NewRequest(http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	switch n.kind {
	case kindHook:
		req.Header, err = trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(hookSecret)}}, body, time.Now())
		req.Header.Set("X-GitHub-Delivery", n.ID)
		req.Header.Set("X-GitHub-Event", "push")
	case kindPost:
		req.Header.Set("Prefer", "respond-async")
	}
	return req, err
}

// allAcceptedSince reports whether every gateway has accepted something after a time.
func (x *clients) allAcceptedSince(at time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.gateways {
		if !x.last[g.name].After(at) {
			return false
		}
	}
	return true
}
