package console

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// rowsPerPage is how many rows a list has; a link leads to older ones.
const rowsPerPage = 50

// eventsPage is what the list of events shows.
type eventsPage struct {
	Form    map[string]string // the search, as it was typed
	States  []queue.State
	Names   names
	Rows    []queue.Record
	Problem string
	Next    string // the address of older rows
	First   bool   // these are the newest rows
}

// names are those that a form offers.
type names struct{ Functions, Sources []string }

func (s *Server) names() names {
	var n names
	m := s.catalog.Manifest()
	for _, t := range m.Triggers {
		n.Sources = append(n.Sources, t.Source())
	}
	all := map[string]bool{}
	for _, f := range m.Functions {
		all[f.Name] = true
	}
	for _, w := range s.queue.Workers() {
		for _, f := range w.Functions {
			all[f.Function] = true
		}
	}
	n.Functions = slices.Sorted(maps.Keys(all))
	return n
}

// searchKeys are those of the search form.
var searchKeys = []string{"id", "kind", "function", "source", "state", "since", "until"}

// eventsPage serves GET /events: the records that a search finds, newest first.
func (s *Server) eventsPage(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	p := eventsPage{States: queue.States(), Names: s.names(), Form: map[string]string{}, First: v.Get("cursor") == ""}
	for _, key := range searchKeys {
		p.Form[key] = strings.TrimSpace(v.Get(key))
	}
	if id := p.Form["id"]; id != "" {
		if _, err := s.queue.Get(r.Context(), id); !errors.Is(err, queue.ErrNotFound) {
			http.Redirect(w, r, eventPath(id), http.StatusSeeOther)
			return
		}
		p.Problem = "Nothing is stored under " + shorten(id) + "."
		s.render(w, r, http.StatusNotFound, "events", "Events", p)
		return
	}
	err := s.search(r, &p)
	var bad *searchError
	switch {
	case errors.As(err, &bad), errors.Is(err, queue.ErrNoFunction), errors.Is(err, queue.ErrNoSource), errors.Is(err, queue.ErrName):
		p.Problem = err.Error()
		s.render(w, r, http.StatusBadRequest, "events", "Events", p)
	case err != nil:
		s.failPage(w, r, err)
	default:
		s.render(w, r, http.StatusOK, "events", "Events", p)
	}
}

// searchError is what is wrong with a search.
type searchError struct{ error }

// search finds one page of records.
func (s *Server) search(r *http.Request, p *eventsPage) error {
	f, err := filterOf(forFilter(p.Form))
	if err != nil {
		return &searchError{err}
	}
	if f.Before, err = cursorOf(r.URL.Query()); err != nil {
		return &searchError{err}
	}
	if err := s.queue.CheckNames(r.Context(), f.Function, f.Source); err != nil {
		return err
	}
	f.Limit = rowsPerPage + 1
	if p.Rows, err = s.queue.List(r.Context(), f); err != nil {
		return err
	}
	if len(p.Rows) > rowsPerPage {
		p.Rows, f.Limit = p.Rows[:rowsPerPage], rowsPerPage
		next, _ := f.Next(p.Rows)
		p.Next = nextAddress(r, next.Before, nil)
	}
	return nil
}

// forFilter writes what was typed as the query of the API has it.
func forFilter(form map[string]string) url.Values {
	v := url.Values{}
	for _, key := range []string{"kind", "function", "source", "state"} {
		v.Set(key, form[key])
	}
	for _, key := range []string{"since", "until"} {
		v.Set(key, instant(form[key]))
	}
	return v
}

// instant turns what a browser's field for times sends, which has no zone and often no seconds, into RFC 3339. The page
// asks for UTC.
func instant(text string) string {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Format(time.RFC3339)
		}
	}
	return text
}

// Filtered reports whether the list is not of all that is stored.
func (p eventsPage) Filtered() bool {
	return slices.ContainsFunc(searchKeys, func(key string) bool { return p.Form[key] != "" })
}

// Recent is the search of the last hours.
func (p eventsPage) Recent(hours int) string {
	v := url.Values{"since": {time.Now().UTC().Add(-time.Duration(hours) * time.Hour).Format("2006-01-02T15:04")}}
	for _, key := range []string{"kind", "function", "source", "state"} {
		if p.Form[key] != "" {
			v.Set(key, p.Form[key])
		}
	}
	return "/events?" + v.Encode()
}

// recordPath is the page of a record, which has no id when it was published by hand without one.
func recordPath(r queue.Record) string { return eventPath(cmp.Or(r.ID, r.Origin)) }

// letterPath is the page of the event of a dead letter.
func letterPath(d queue.DeadLetter) string { return eventPath(cmp.Or(d.ID, d.Origin)) }

func eventPath(id string) string { return "/events/" + url.PathEscape(id) }

// shorten keeps what a message quotes in bounds.
func shorten(text string) string {
	if r := []rune(text); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return text
}

// lastError is what the newest attempt that failed says, for the list.
func lastError(r queue.Record) string {
	for _, a := range slices.Backward(r.Attempts) {
		if a.Outcome != queue.OutcomeOK {
			return cmp.Or(a.Error, a.Code)
		}
		return ""
	}
	return ""
}
