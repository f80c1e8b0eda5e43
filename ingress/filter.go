package ingress

import (
	"log/slog"
	"reflect"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// route is a function and what decides which events run it.
type route struct {
	function string
	match    *deploy.Matcher
}

func (h *hook) addRoutes() error {
	for _, r := range h.Routes {
		match, err := deploy.NewMatcher(h.Kind, r.Filter)
		if err != nil {
			return err
		}
		h.routes = append(h.routes, route{r.Function, match})
		h.looks = h.looks || !reflect.DeepEqual(r.Filter, deploy.Filter{Events: r.Filter.Events})
	}
	return nil
}

// events are those that a request brings: one for each record and each function
// whose filter lets it through.
func (s *Server) events(x *exchange, h *hook, event trigger.Event, body []byte) ([]*queue.Event, error) {
	if h.looks {
		// A decoded body takes many times its size: only so many at once.
		select {
		case s.deciders <- struct{}{}:
			defer func() { <-s.deciders }()
		case <-x.r.Context().Done():
			return nil, x.r.Context().Err()
		}
	}
	d := decision{exchange: x, hook: h, failed: make([]failedFilter, len(h.routes))}
	if event.Records == nil {
		d.add(event, x.r.Header.Get("Content-Type"), body)
	}
	for _, r := range event.Records {
		one := event
		one.Name, one.Identity, one.Form = r.Name, r.Identity, r.Form
		d.add(one, contentJSON, r.Body)
	}
	d.log(s.log)
	return d.events, nil
}

// decision is which functions the events of a request run.
type decision struct {
	*exchange
	*hook
	events []*queue.Event
	failed []failedFilter // by route
}

// failedFilter is a filter that could not be asked.
type failedFilter struct {
	err   error // the first
	times int
}

// add asks each route of one event.
func (d *decision) add(event trigger.Event, contentType string, body []byte) {
	in := deploy.Incoming{Event: event.Name, Source: d.hook.source, Header: event.Header, ContentType: contentType, Form: event.Form, Body: body}
	for i, r := range d.routes {
		passes, err := r.match.Passes(&in)
		if f := &d.failed[i]; err != nil {
			if f.times++; f.err == nil {
				f.err = err
			}
		}
		if passes {
			e := d.stored(d.exchange, event, r.function, body)
			e.ContentType = contentType
			d.events = append(d.events, e)
		}
	}
}

// log writes a line for each filter that could not be asked: its events ran the function.
func (d *decision) log(log *slog.Logger) {
	for i, f := range d.failed {
		if f.err != nil {
			log.Warn("a filter could not be asked, so the event passed it", "request_id", d.id,
				"source", d.hook.source, "function", d.routes[i].function, "events", f.times, "error", f.err)
		}
	}
}
