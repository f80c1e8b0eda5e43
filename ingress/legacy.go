package ingress

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// root serves "/" when no trigger has that path: POST as the Node prototype took
// it, with the sender told by the shape of the body, and HEAD for those who ask
// whether anybody is there.
func (s *Server) root(x *exchange, t *table) error {
	if x.r.Method == http.MethodHead {
		x.answer(http.StatusOK, contentJSON, nil)
		return nil
	}
	return s.post(x, "HEAD, POST", x.r.Header.Get("X-Github-Event") == "", func() error {
		body, err := s.body(x, s.forEvent())
		if err != nil {
			return err
		}
		h, err := t.byShape(x.r.Header, body)
		if err != nil {
			return err
		}
		return s.deliver(x, t, h, body)
	})
}

// byShape returns the only trigger of the body's kind. GitHub says itself who it
// is: its ping has not the shape of a push.
func (t *table) byShape(header http.Header, body []byte) (*hook, error) {
	payload, err := trigger.Payload("", header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	kind := trigger.Kind(payload)
	if header.Get("X-Github-Event") != "" {
		kind = trigger.GitHub
	}
	hooks := t.kinds[kind]
	switch {
	case kind == "":
		if err := trigger.CheckJSON(payload); err != nil {
			return nil, err
		}
		return nil, refuse(codeUnknownShape, "the body is neither an Alexa request nor a GitHub push: send other events to the path of their trigger")
	case len(hooks) == 0:
		return nil, refuse(codeNoTrigger, fmt.Sprintf("there is no trigger for %s: add one to the manifest", kind))
	case len(hooks) > 1:
		paths := make([]string, 0, maxNamed)
		for _, h := range hooks[:min(maxNamed, len(hooks))] {
			paths = append(paths, h.Path)
		}
		return nil, refuse(codeNoTrigger, fmt.Sprintf("there is more than one trigger for %s: use its path, one of %s", kind, strings.Join(paths, ", ")))
	}
	return hooks[0], nil
}
