package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// defaultRate is how many events a second a bulk works on.
	defaultRate = 100
	// maxRate is more than any disk takes.
	maxRate = 100_000
	// shownFailures is how many failures of a bulk are told; the others are only counted.
	shownFailures = 20
)

// BulkReport is the answer to a bulk: what became of at most limit events. Where there are more, or something stopped it,
// the link "next" goes on.
type BulkReport struct {
	Done     int           `json:"done"`
	Failed   int           `json:"failed"`
	LeftOut  int           `json:"left_out"` // still under way, or dropped
	Failures []BulkFailure `json:"failures"` // the first of them
	Stopped  *Problem      `json:"stopped,omitempty"`
}

// BulkFailure is one event that a bulk could do nothing with.
type BulkFailure struct {
	Ref     string  `json:"ref"` // place of the event or dead letter
	Problem Problem `json:"problem"`
}

// BulkPreview is the answer to a bulk with dry_run=true.
type BulkPreview struct {
	DryRun    bool           `json:"dry_run"`
	Chosen    int            `json:"chosen"`
	Functions map[string]int `json:"functions"` // how many are of each
	LeftOut   int            `json:"left_out"`
}

// bulk is one request to do the same to many.
type bulk struct {
	// each visits what was chosen, by place and function, the oldest first, and says how many it left out.
	each func(ctx context.Context, visit func(ref, function string) error) (leftOut int, err error)
	do   func(ctx context.Context, ref string) error

	limit, rate int
	dryRun      bool
	cursor      string
	fixed       url.Values // parameters of the request that goes on
}

// bulkOf reads what the requests for bulks have in common.
func bulkOf(v url.Values) (b bulk, err error) {
	if b.limit, err = limit(v); err != nil {
		return b, err
	}
	if b.limit == 0 {
		b.limit = queue.MaxLimit
	}
	if b.cursor, err = cursorOf(v); err != nil {
		return b, err
	}
	b.rate = defaultRate
	if text := v.Get("rate"); text != "" {
		if b.rate, err = strconv.Atoi(text); err != nil || b.rate < 0 || b.rate > maxRate {
			return b, fmt.Errorf("rate must be how many per second, up to %d, or 0 for as fast as possible", maxRate)
		}
	}
	b.dryRun, err = boolean(v, "dry_run")
	return b, err
}

// boolean reads a parameter that is true or false.
func boolean(v url.Values, key string) (bool, error) {
	text := v.Get(key)
	if text == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s must be true or false", key)
	}
	return b, nil
}

// until fixes the end of the time range: what comes in meanwhile was not meant.
func (b *bulk) until(until *time.Time) {
	if until.IsZero() {
		*until = time.Now().UTC()
	}
	b.fixed = url.Values{"until": {until.Format(time.RFC3339Nano)}}
}

// errEnough ends a visit of more than the limit.
var errEnough = errors.New("enough")

// run does it and answers.
func (s *Server) run(w http.ResponseWriter, r *http.Request, b bulk) {
	ctx, cancel := s.whileOpen(r.Context())
	defer cancel()
	if b.dryRun {
		s.preview(ctx, w, r, b)
		return
	}
	report, more := BulkReport{Failures: []BulkFailure{}}, false
	refs := func(ctx context.Context, visit func(string) error) (err error) {
		n := 0
		report.LeftOut, err = b.each(ctx, func(ref, _ string) error {
			if n++; n > b.limit {
				more = true
				return errEnough
			}
			return visit(ref)
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	}
	work := queue.Bulk[string]{Rate: b.rate, Do: func(ctx context.Context, ref string) (string, error) { return ref, b.do(ctx, ref) }}
	work.Report = func(reach queue.Reach, ref string, err error) error {
		if err != nil && reach.Failed <= shownFailures {
			report.Failures = append(report.Failures, BulkFailure{ref, titled(problemOf(err))})
		}
		return nil
	}
	reach, err := work.Run(ctx, refs)
	if err != nil && reach.Sum() == 0 {
		s.fail(w, r, err)
		return
	}
	report.Done, report.Failed = reach.Done, reach.Failed
	if err != nil {
		more, report.Stopped = true, stopped(err)
	}
	if more {
		if reach.Last != "" {
			b.cursor = reach.Last
		}
		linkNext(w, r, b.cursor, b.fixed)
	}
	answer(w, http.StatusOK, report)
}

// stopped says why a bulk stopped.
func stopped(err error) *Problem {
	p := problemOf(err)
	if errors.Is(err, context.Canceled) {
		p = Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the gateway is stopping"}
	}
	p = titled(p)
	return &p
}

func (s *Server) preview(ctx context.Context, w http.ResponseWriter, r *http.Request, b bulk) {
	p := BulkPreview{DryRun: true, Functions: map[string]int{}}
	var err error
	p.LeftOut, err = b.each(ctx, func(_, function string) error {
		p.Chosen++
		p.Functions[function]++
		return nil
	})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, p)
}
