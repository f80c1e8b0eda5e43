package console

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// The answer to GET /intents/, in the form of the Node prototype.
type (
	intentList struct {
		AvailableIntents []intent
	}
	intent struct {
		Name      string
		CreatedAt string
		Mode      mode
		Image     string
	}
	mode       struct{ Replicated replicated }
	replicated struct{ Replicas int }
)

// intents lists the functions with Intent in their name.
func (s *Server) intents(w http.ResponseWriter, _ *http.Request) {
	m := s.catalog.Manifest()
	since := s.loaded.since(m).UTC().Format(time.RFC3339)
	list := intentList{AvailableIntents: []intent{}}
	for _, f := range m.Functions {
		if strings.Contains(f.Name, "Intent") {
			list.AvailableIntents = append(list.AvailableIntents, intent{
				Name: f.Name, CreatedAt: since, Image: f.Image, Mode: mode{replicated{max(1, f.Replicas.Min)}},
			})
		}
	}
	answer(w, http.StatusOK, list)
}

// loaded remembers when the manifest in force was first seen.
type loaded struct {
	mu       sync.Mutex
	manifest *deploy.Manifest
	at       time.Time
}

func (l *loaded) since(m *deploy.Manifest) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.manifest != m {
		l.manifest, l.at = m, time.Now()
	}
	return l.at
}
