package console

import (
	"net/http"
	"slices"
)

// route is one operation of the API.
type route struct {
	method, path string
	serve        http.HandlerFunc
	keys         []string // that its query takes
}

var (
	eventKeys = []string{"kind", "function", "source", "state", "since", "until"}
	deadKeys  = []string{"function", "source", "reason", "all", "since", "until"}
	pageKeys  = []string{"limit", "cursor"}
	bulkKeys  = []string{"limit", "cursor", "rate", "dry_run"}
)

// api is the whole of /api/v1, as openapi.yaml describes it.
func (s *Server) api() []route {
	routes := []route{
		{"GET", "/api/v1/openapi.yaml", s.openAPI, nil},
		{"GET", "/api/v1/events", s.events, slices.Concat(eventKeys, pageKeys)},
		{"POST", "/api/v1/events/replay", s.replayEvents, slices.Concat(eventKeys, bulkKeys, []string{"to"})},
		{"GET", "/api/v1/events/{id}", s.event, nil},
		{"POST", "/api/v1/events/{id}/replay", s.replay, []string{"to"}},
		{"POST", "/api/v1/events/{id}/edit", s.replayEdited, []string{"to"}},
		{"GET", "/api/v1/dead", s.letters, slices.Concat(deadKeys, pageKeys)},
		{"POST", "/api/v1/dead/replay", s.replayLetters, slices.Concat(deadKeys, bulkKeys, []string{"to"})},
		{"POST", "/api/v1/dead/drop", s.dropLetters, slices.Concat(deadKeys, bulkKeys)},
		{"GET", "/api/v1/dead/{id}", s.letter, nil},
		{"POST", "/api/v1/dead/{id}/replay", s.replayLetter, []string{"to"}},
		{"DELETE", "/api/v1/dead/{id}", s.drop, nil},
		{"GET", "/api/v1/stats", s.stats, nil},
		{"GET", "/api/v1/cluster", s.cluster, nil},
		{"GET", "/api/v1/stream", s.stream, []string{"function", "source"}},
		{"POST", "/api/v1/functions/{name}/call", s.call, []string{"timeout"}},
		{"POST", "/api/v1/functions/{name}/event", s.storeEvent, nil},
		{"POST", "/api/v1/verify", s.verify, nil},
	}
	if s.functions != nil {
		routes = append(routes, route{"GET", "/api/v1/functions", s.listFunctions, nil})
	}
	if s.triggers != nil {
		routes = append(routes, route{"GET", "/api/v1/triggers", s.trigger, nil}, route{"GET", "/api/v1/triggers/{source}", s.trigger, nil},
			route{"GET", "/api/v1/triggers/{source}/setup", s.setupAnswer, nil})
	}
	if s.tests != nil {
		routes = append(routes, route{"GET", "/api/v1/triggers/{source}/samples", s.ready, nil}, route{"POST", "/api/v1/triggers/{source}/test", s.test, []string{"event", "function"}})
	}
	if s.manifests != nil {
		routes = append(routes, route{"GET", "/api/v1/manifest", s.manifest, nil}, route{"PUT", "/api/v1/manifest", s.putManifest, []string{"dry_run"}},
			route{"POST", "/api/v1/functions/{name}/pause", s.pauseFunction, nil}, route{"POST", "/api/v1/functions/{name}/resume", s.resumeFunction, nil},
			route{"POST", "/api/v1/functions/{name}/scale", s.scaleFunction, []string{"min", "max"}})
	}
	return routes
}

// changes reports whether a request may change something: whoever may only read is not let through.
func changes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }
