package ingress

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// sourceNone is the source of requests that reached no trigger and no function.
const sourceNone = "none"

// SenderState is what became of the requests of one source since the gateway
// started: a trigger, POST /functions/ ("http"), or all other paths ("none").
type SenderState struct {
	Source    string            `json:"source"`
	Path      string            `json:"path,omitempty"`     // of the URL
	Verified  string            `json:"verified,omitempty"` // by what; "INSECURE": by nothing; "": it takes no events
	Problem   string            `json:"problem,omitempty"`  // why the trigger is closed
	Last      time.Time         `json:"last,omitzero"`      // when the last request came that was accepted
	LastEvent string            `json:"last_event,omitempty"`
	Connected time.Time         `json:"connected,omitzero"` // when the sender asked last whether somebody is here
	Accepted  uint64            `json:"accepted"`           // requests: stored, found to be repeats, or answered by a function
	Ignored   uint64            `json:"ignored"`            // requests that no filter let through
	Refused   map[string]uint64 `json:"refused"`            // requests, by code
	Samples   []Refused         `json:"samples,omitempty"`  // of refused requests, newest first; not in lists

	LastIgnored string `json:"last_ignored,omitempty"` // name of the last event that no filter let through
}

// senders counts what becomes of requests, by source. The sources are those of
// the manifest in force and two more, so there is an end to them.
type senders struct {
	mu      sync.Mutex
	order   []string
	all     map[string]*tally
	samples samples
	times   *prometheus.HistogramVec
}

// tally is a SenderState in the making.
type tally struct {
	SenderState
	refused map[string]*reason // by code
	secret  string             // header with the sender's password; "": none of its own
}

// reason counts the refusals of one source with one code.
type reason struct {
	count   uint64
	sampled time.Time // when the newest sample came
}

// newSenders knows POST /functions/ when path is not "".
func newSenders(path, verified string) *senders {
	s := &senders{all: map[string]*tally{}, times: requestTimes()}
	s.add(sourceHTTP).SenderState = SenderState{Source: sourceHTTP, Path: path, Verified: verified}
	s.add(sourceNone)
	return s
}

// add makes a tally. The codes that this side gives are in it from the start, so
// that the first refusal is an increase.
func (s *senders) add(source string) *tally {
	t := &tally{SenderState: SenderState{Source: source}, refused: make(map[string]*reason, len(meanings))}
	for code := range meanings {
		t.refused[code] = &reason{}
	}
	for _, status := range []string{"2xx", "4xx", "5xx"} {
		s.times.WithLabelValues(source, status)
	}
	s.all[source] = t
	return t
}

// follow forgets the triggers that the manifest does not have.
func (s *senders) follow(m *deploy.Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.all
	s.order = nil
	s.all = map[string]*tally{sourceHTTP: before[sourceHTTP], sourceNone: before[sourceNone]}
	for _, d := range m.Triggers {
		source := d.Source()
		t := before[source]
		if t == nil {
			t = s.add(source)
		}
		t.Path, t.Verified, t.Problem, t.secret = d.Path, verifiedBy(d), d.Closed, d.Header
		s.all[source] = t
		if !slices.Contains(s.order, source) { // closed triggers may lack their names
			s.order = append(s.order, source)
		}
	}
	s.order = append(s.order, sourceHTTP, sourceNone)
	s.samples.forget(func(source string) bool { return s.all[source] == nil })
	for source := range before {
		if s.all[source] == nil {
			s.times.DeletePartialMatch(prometheus.Labels{"source": source})
		}
	}
}

// verifiedBy says what proves the requests of a trigger, for people.
func verifiedBy(d *deploy.Trigger) string {
	switch {
	case d.Closed != "":
		return ""
	case d.Auth != "":
		return d.Auth
	case len(d.Secrets) > 0:
		return "secret"
	case len(d.SkillIDs) > 0 && (d.IDOnly || d.Insecure):
		return "skill id"
	case d.Insecure:
		return insecure
	default:
		return "certificate"
	}
}

const insecure = "INSECURE"

// of is the tally of a source. What came for a trigger that has just been removed
// counts as if there had been none.
func (s *senders) of(source string) *tally {
	if t := s.all[source]; t != nil {
		return t
	}
	return s.all[sourceNone]
}

// note counts a request that is answered.
func (s *senders) note(x *exchange) {
	source, secret, due := s.count(x)
	if !due {
		return
	}
	r := sampleOf(x, source, secret) // takes longer than others shall wait
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[source] != nil {
		s.samples.keep(r)
	}
}

// count returns what a request counts for, the header with its sender's password,
// and whether a sample of it is due.
func (s *senders) count(x *exchange) (source, secret string, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of(x.source)
	s.observe(t.Source, x)
	switch {
	case x.code != "":
		due = t.refuse(x.code, x.start)
	case x.event != "":
		t.Accepted++
		t.Last, t.LastEvent = x.start, x.event
	case x.said == saidConnected:
		t.Connected = x.start
	case x.said == saidIgnored:
		t.Ignored++
		t.LastIgnored = x.ignored
	}
	return t.Source, t.secret, due
}

// refuse counts, and reports whether a sample is due: the first few, and after
// them not more than one in sampleEvery, so that a flood costs next to nothing.
func (t *tally) refuse(code string, now time.Time) bool {
	r := t.refused[code]
	if r == nil {
		r = &reason{}
		t.refused[code] = r
	}
	r.count++
	if r.count > samplesPerReason && now.Sub(r.sampled) < sampleEvery {
		return false
	}
	r.sampled = now
	return true
}

func (t *tally) state() SenderState {
	state := t.SenderState
	state.Refused = map[string]uint64{}
	for code, r := range t.refused {
		if r.count > 0 {
			state.Refused[code] = r.count
		}
	}
	return state
}

// Senders returns the state of every source: the triggers in the order of the
// manifest, then "http" and "none".
func (s *Server) Senders() []SenderState {
	s.current()
	s.senders.mu.Lock()
	defer s.senders.mu.Unlock()
	states := make([]SenderState, 0, len(s.senders.order))
	for _, source := range s.senders.order {
		states = append(states, s.senders.all[source].state())
	}
	return states
}

// Sender returns the state of one source, with samples of the requests that were
// refused. The error is queue.ErrNotFound, and names the sources that there are.
func (s *Server) Sender(source string) (SenderState, error) {
	s.current()
	s.senders.mu.Lock()
	defer s.senders.mu.Unlock()
	t := s.senders.all[source]
	if t == nil {
		known := s.senders.order[:min(maxNamed, len(s.senders.order))]
		return SenderState{}, &unknownSource{fmt.Sprintf("there is no trigger %q: take one of %s", clip(source), strings.Join(known, ", "))}
	}
	state := t.state()
	state.Samples = s.senders.samples.of(source)
	return state, nil
}

// unknownSource is a queue.ErrNotFound with a text of its own.
type unknownSource struct{ text string }

func (u *unknownSource) Error() string { return u.text }
func (u *unknownSource) Unwrap() error { return queue.ErrNotFound }

var refusedRequests = prometheus.NewDesc("funker_refused_requests_total",
	"Requests that were not answered as the sender wished, by their source and the code of the answer; Alexa's apologies too.",
	[]string{"source", "code"}, nil)

// Describe is part of prometheus.Collector.
func (s *senders) Describe(descs chan<- *prometheus.Desc) {
	descs <- refusedRequests
	s.times.Describe(descs)
}

// Collect is part of prometheus.Collector. A trigger that is removed takes its
// series along.
func (s *senders) Collect(metrics chan<- prometheus.Metric) {
	for _, m := range s.counters() {
		metrics <- m
	}
	s.times.Collect(metrics)
}

func (s *senders) counters() (all []prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for source, t := range s.all {
		for code, r := range t.refused {
			all = append(all, prometheus.MustNewConstMetric(refusedRequests, prometheus.CounterValue, float64(r.count), source, code))
		}
	}
	return all
}
