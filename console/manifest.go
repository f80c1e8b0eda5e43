package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// yamlType is the media type of YAML, RFC 9512.
const yamlType = "application/yaml"

// Manifests keeps the manifest of a gateway. An error that is a *Problem is answered as it is.
type Manifests interface {
	// Stored returns the manifest that was applied last.
	Stored(ctx context.Context) (queue.Config, error)
	// Apply puts a manifest in force, or says what that would change. Errors: ErrStale; queue.ErrConflict; a *Problem
	// with the faults of the manifest.
	Apply(ctx context.Context, c Change) (Applied, error)
	// Edit puts the stored manifest in force as change returns it. Errors: that of change; those of Apply.
	Edit(ctx context.Context, change func(text []byte) ([]byte, error)) (Applied, error)
}

// Change is a manifest that somebody wants in force.
type Change struct {
	Text   string
	DryRun bool
	// May is asked whether the manifest may take the place of the stored one, before anything is looked at. nil: it may.
	May func(revision uint64, stored bool) bool
}

// Applied says what a manifest changes.
type Applied struct {
	Warnings []string            `json:"warnings,omitempty"`
	Changes  []deploy.Difference `json:"changes"`
	Services []string            `json:"services,omitempty"` // DryRun: what would change in the swarm
	DryRun   bool                `json:"dry_run,omitempty"`
	Revision uint64              `json:"revision"` // of the manifest that is stored now
}

// ErrStale means that another manifest is stored than the one which a change is made for.
var ErrStale = errors.New("another manifest is stored")

func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

// manifest serves GET /api/v1/manifest: the text as it was applied.
func (s *Server) manifest(w http.ResponseWriter, r *http.Request) {
	c, err := s.manifests.Stored(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if c.Text == nil {
		refuse(w, http.StatusNotFound, "no_manifest", "no manifest was applied yet: PUT one here, with the header If-None-Match: *")
		return
	}
	w.Header().Set("Etag", etag(c.Revision))
	if none := tags(r.Header, "If-None-Match"); slices.Contains(none, "*") || slices.Contains(none, etag(c.Revision)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answerText(w, yamlType, c.Text)
}

// putManifest serves PUT /api/v1/manifest.
func (s *Server) putManifest(w http.ResponseWriter, r *http.Request) {
	dryRun, err := boolean(r.URL.Query(), "dry_run")
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	may := condition(r.Header)
	if may == nil {
		refuse(w, http.StatusPreconditionRequired, "precondition_required",
			"say which manifest this one is made from: the ETag of GET /api/v1/manifest in If-Match, or If-None-Match: * for the first one")
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, deploy.MaxSize))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a manifest has at most %d bytes", deploy.MaxSize))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "bad_request", "the manifest did not come through: "+err.Error())
		return
	}
	a, err := s.manifests.Apply(r.Context(), Change{Text: string(text), DryRun: dryRun, May: may})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Etag", etag(a.Revision))
	answer(w, http.StatusOK, a)
}

// condition reads If-Match and If-None-Match of RFC 9110. It is nil when there is neither.
func condition(h http.Header) func(revision uint64, stored bool) bool {
	match, none := tags(h, "If-Match"), tags(h, "If-None-Match")
	if len(match)+len(none) == 0 {
		return nil
	}
	return func(revision uint64, stored bool) bool {
		matches := func(tags []string) bool {
			return stored && (slices.Contains(tags, "*") || slices.Contains(tags, etag(revision)))
		}
		return (len(match) == 0 || matches(match)) && !matches(none)
	}
}

// tags are the entity tags in a header. Ours have no commas.
func tags(h http.Header, name string) (all []string) {
	for _, line := range h.Values(name) {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				all = append(all, tag)
			}
		}
	}
	return all
}
