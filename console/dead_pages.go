package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// bulkMost is how many dead letters one confirmation covers.
	bulkMost = queue.MaxLimit
	// bulkTime is how long all of them may take together; the page says how far they came.
	bulkTime = 2 * time.Minute
)

// deadGroup is the dead letters of one function with one reason.
type deadGroup struct {
	Function string
	Reason   queue.Reason
	Count    int
	Newest   *queue.DeadLetter // nil when they are gone meanwhile
}

// deadPage is what the page of dead letters shows: all groups, or the letters of one.
type deadPage struct {
	Groups []deadGroup
	Total  int
	Group  *deadGroup // the one that is shown; nil for all
	Rows   []queue.DeadLetter
	Next   string
	First  bool
}

// deadPage serves GET /dead.
func (s *Server) deadPage(w http.ResponseWriter, r *http.Request) {
	p := deadPage{First: r.URL.Query().Get("cursor") == ""}
	err := s.fillDead(r, &p)
	var bad *searchError
	switch {
	case errors.As(err, &bad):
		s.errorPage(w, r, http.StatusBadRequest, err.Error())
	case err != nil:
		s.failPage(w, r, err)
	default:
		s.render(w, r, http.StatusOK, "dead", "Dead letters", p)
	}
}

func (s *Server) fillDead(r *http.Request, p *deadPage) (err error) {
	v := r.URL.Query()
	if v.Get("function") == "" {
		p.Groups, p.Total, err = s.deadGroups(r.Context())
		return err
	}
	f, err := deadFilterOf(url.Values{"function": v["function"], "reason": v["reason"]})
	if err != nil {
		return &searchError{err}
	}
	if f.Before, err = cursorOf(v); err != nil {
		return &searchError{err}
	}
	f.Limit = rowsPerPage + 1
	if p.Rows, err = s.queue.DeadLetters(r.Context(), f); err != nil {
		return err
	}
	if len(p.Rows) > rowsPerPage {
		p.Rows, f.Limit = p.Rows[:rowsPerPage], rowsPerPage
		next, _ := f.Next(p.Rows)
		p.Next = nextAddress(r, next.Before, nil)
	}
	p.Group = &deadGroup{Function: f.Function, Reason: f.Reason}
	p.Group.Count, err = s.deadCount(r.Context(), f.Function, f.Reason)
	return err
}

// deadGroups are the dead letters that nobody has dealt with, the most first.
func (s *Server) deadGroups(ctx context.Context) (groups []deadGroup, total int, err error) {
	stats, err := s.queue.Stats(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range stats {
		for reason, n := range f.Dead {
			groups = append(groups, deadGroup{Function: f.Function, Reason: reason, Count: int(n)})
			total += int(n)
		}
	}
	slices.SortFunc(groups, func(a, b deadGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Reason, b.Reason))
	})
	for i := range groups {
		newest, err := s.queue.DeadLetters(ctx, queue.DeadFilter{Function: groups[i].Function, Reason: groups[i].Reason, Limit: 1})
		if err != nil {
			return nil, 0, err
		}
		if len(newest) > 0 {
			groups[i].Newest = &newest[0]
		}
	}
	return groups, total, nil
}

// deadCount counts those of a function, of one reason unless that is "".
func (s *Server) deadCount(ctx context.Context, function string, reason queue.Reason) (n int, err error) {
	stats, err := s.queue.Stats(ctx)
	for _, f := range stats {
		for r, count := range f.Dead {
			if f.Function == function && (reason == "" || r == reason) {
				n += int(count)
			}
		}
	}
	return n, err
}

// bulkVerbs are what can be done to many dead letters.
var bulkVerbs = []string{"replay", "drop"}

// dealing is what a person is asked to confirm: these dead letters, and none that come later.
type dealing struct {
	Verb     string
	Function string
	Reason   queue.Reason
	To       string // the function of a replay; "" is the one that it was for
	From     string // the oldest, such as "FUNKER_DEAD/3"
	Through  string // the newest
	Until    time.Time
	Count    int
	All      int // of the group, when there are more
	Letters  []queue.DeadLetter
	Targets  []string
}

// Done is the verb in a sentence about what was done.
func (b dealing) Done() string {
	return map[string]string{"replay": "replayed", "drop": "dropped"}[b.Verb]
}

// Some are the letters that the page lists.
func (b dealing) Some() []queue.DeadLetter { return b.Letters[:min(len(b.Letters), 10)] }

// dealingOf reads what shall be done to which group.
func dealingOf(v url.Values) (b dealing, err error) {
	f, err := deadFilterOf(url.Values{"function": v["function"], "reason": v["reason"]})
	b = dealing{Verb: v.Get("do"), Function: f.Function, Reason: f.Reason, To: v.Get("to")}
	switch {
	case err != nil:
		return b, err
	case !slices.Contains(bulkVerbs, b.Verb):
		return b, fmt.Errorf("choose what to do: %s", strings.Join(bulkVerbs, " or "))
	case b.Function == "":
		return b, errors.New("choose a function")
	}
	return b, nil
}

// confirmPage serves GET /dead/confirm: how many dead letters, and which. From here on the set is fixed.
func (s *Server) confirmPage(w http.ResponseWriter, r *http.Request) {
	b, err := dealingOf(r.URL.Query())
	if err != nil {
		s.errorPage(w, r, http.StatusBadRequest, err.Error())
		return
	}
	b.Letters, err = s.queue.DeadLetters(r.Context(), queue.DeadFilter{Function: b.Function, Reason: b.Reason, Limit: bulkMost})
	if err == nil {
		b.All, err = s.deadCount(r.Context(), b.Function, b.Reason)
	}
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	if b.Count = len(b.Letters); b.Count == 0 {
		s.done(w, r, "/dead", flash{Text: "There are no such dead letters any more."})
		return
	}
	newest := b.Letters[0]
	b.From, b.Through, b.Until = b.Letters[b.Count-1].Origin, newest.Origin, newest.Time
	b.Targets = s.names().Functions
	s.render(w, r, http.StatusOK, "confirm", "Confirm", b)
}

// confirmedOf reads what was confirmed.
func confirmedOf(v url.Values) (b dealing, err error) {
	if b, err = dealingOf(v); err != nil {
		return b, err
	}
	b.From, b.Through = v.Get("from"), v.Get("through")
	b.Count, err = strconv.Atoi(v.Get("count"))
	if err == nil {
		b.Until, err = time.Parse(time.RFC3339Nano, v.Get("until"))
	}
	if err != nil || sequence(b.From) == 0 || sequence(b.From) > sequence(b.Through) {
		return b, errors.New("the form is not complete: begin with the list of dead letters")
	}
	return b, nil
}

// sequence is the number in a place such as FUNKER_DEAD/3, 0 when there is none.
func sequence(place string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(place, "FUNKER_DEAD/"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// doBulk serves POST /dead/bulk: what was confirmed is done.
func (s *Server) doBulk(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	b, err := confirmedOf(form)
	if err != nil {
		s.errorPage(w, r, http.StatusBadRequest, err.Error())
		return
	}
	letters, err := s.queue.DeadLetters(r.Context(), queue.DeadFilter{Function: b.Function, Reason: b.Reason, Until: b.Until, Limit: bulkMost})
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	b.Letters = slices.DeleteFunc(letters, func(d queue.DeadLetter) bool {
		n := sequence(d.Origin)
		return n < sequence(b.From) || n > sequence(b.Through)
	})
	slices.Reverse(b.Letters) // the oldest first
	o := s.runBulk(r.Context(), b)
	noteChange(r.Context(), "do", b.Verb, "function", b.Function, "reason", string(b.Reason), "to", b.To, "from_letter", b.From, "through_letter", b.Through,
		"done", o.done, "failed", o.failed)
	s.done(w, r, "/dead", o.flash(b))
}

// bulkOutcome is what came of a bulk.
type bulkOutcome struct {
	done, failed, meanwhile int // meanwhile: somebody else was quicker
	failures                []string
}

func (o *bulkOutcome) note(d queue.DeadLetter, err error) {
	switch {
	case err == nil:
		o.done++
	case errors.Is(err, queue.ErrNotDead):
		o.meanwhile++
	default:
		if o.failed++; len(o.failures) < shownFailures {
			o.failures = append(o.failures, fmt.Sprintf("%s (%s): %v", d.ID, d.Origin, err))
		}
	}
}

// runBulk does the same to many dead letters. It stops when the queue takes no more, when the time is over, and when the
// server stops; what stopped it is among the failures, or else there are letters left.
func (s *Server) runBulk(ctx context.Context, b dealing) *bulkOutcome {
	ctx, cancel := s.whileOpen(context.WithoutCancel(ctx)) // a page that is closed leaves nothing half done
	defer cancel()
	ctx, end := context.WithTimeout(ctx, bulkTime)
	defer end()
	o, letters := &bulkOutcome{}, make(map[string]queue.DeadLetter, len(b.Letters))
	for _, d := range b.Letters {
		letters[d.Origin] = d
	}
	work := queue.Bulk[string]{
		Do:     func(ctx context.Context, ref string) (string, error) { return ref, s.doOne(ctx, b, ref) },
		Report: func(_ queue.Reach, ref string, err error) error { o.note(letters[ref], err); return nil },
	}
	_, _ = work.Run(ctx, func(_ context.Context, visit func(string) error) error {
		for _, d := range b.Letters {
			if err := visit(d.Origin); err != nil {
				return err
			}
		}
		return nil
	})
	return o
}

func (s *Server) doOne(ctx context.Context, b dealing, ref string) error {
	if b.Verb == "drop" {
		return s.queue.Drop(ctx, ref)
	}
	_, err := s.queue.ReplayDead(ctx, ref, b.To)
	return err
}

// flash says how many were done, and what became of the others that were confirmed.
func (o *bulkOutcome) flash(b dealing) flash {
	f := flash{Text: fmt.Sprintf("%d of %s %s.", o.done, countText(b.Count, "dead letter"), b.Done()), Details: o.failures, Bad: o.failed > 0}
	if others := b.Count - len(b.Letters) + o.meanwhile; others > 0 {
		f.Text += fmt.Sprintf(" %d had been dealt with meanwhile.", others)
	}
	if left := len(b.Letters) - o.done - o.failed - o.meanwhile; left > 0 {
		f.Text, f.Bad = f.Text+fmt.Sprintf(" %d were not begun: the queue took no more, or the time was over. They are still here.", left), true
	}
	if o.failed > 0 {
		f.Text += fmt.Sprintf(" %d failed and are still here:", o.failed)
	}
	return f
}
