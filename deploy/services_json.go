package deploy

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// ServicesOptions is what a services.json cannot say: how its triggers are
// verified. A trigger that nothing verifies is left out, with a warning.
type ServicesOptions struct {
	SkillID      string // the Alexa skill that may call; believed by its id alone
	GitHubSecret trigger.Secret
	Insecure     bool // believe everybody where the other two are empty
}

// ParseServices reads a services.json, version 1.0: a list of services with a
// type and a name. All services of type alexa get one trigger, on /alexa, that
// maps an intent to the function of its name; the service of type github gets
// one for pushes, on /github. The error is a Faults.
func ParseServices(file string, data []byte, options ServicesOptions) (*Manifest, error) {
	r := &report{file: file}
	m := &Manifest{}
	if root := r.document(data); root != nil {
		top := r.entries(root, "services.json")
		switch version := r.version(top); {
		case version == versionServices:
			m = (&servicesReader{report: r, options: options}).manifest(root, top)
		case len(r.faults) == 0:
			r.fault(at(root), `not a services.json: write "version": %q and "services": []`, versionServices)
		}
	}
	return r.result(m)
}

// servicesReader reads version 1.0.
type servicesReader struct {
	*report
	options       ServicesOptions
	alexa, github *token.Token   // the first service of each type
	lines         map[string]int // of the names
}

func (r *servicesReader) manifest(root ast.Node, top []entry) *Manifest {
	m := &Manifest{}
	r.lines = map[string]int{}
	given := false
	r.read(top, "services.json", fields{
		"version": func(ast.Node) {},
		"services": func(n ast.Node) {
			given = true
			for _, item := range r.items(n, "services", `[{"type": "alexa", "service": "HelloIntent"}]`) {
				r.service(m, item)
			}
		},
	})
	if !given {
		r.fault(at(root), `services.json has no list of services: add "services": []`)
	}
	return m
}

// service adds the function of one service, and the trigger of its type when it
// is the first of it.
func (r *servicesReader) service(m *Manifest, n ast.Node) {
	f := NewFunction("")
	var kind string
	before := len(r.faults)
	r.object(n, "a service", fields{
		"type":     func(n ast.Node) { kind = r.kind(n) },
		"provider": func(n ast.Node) { r.text(n, "provider") },
		"service":  func(n ast.Node) { f.Name = r.name(n) },
		"image":    func(n ast.Node) { f.Image = r.image(n) },
	})
	if len(r.faults) > before {
		return
	}
	if kind == "" || f.Name == "" {
		r.fault(at(n), `the service needs a "type" and a "service", which is the name of its function: add them`)
		return
	}
	m.Functions = append(m.Functions, f)
	if t := r.trigger(kind, f.Name, at(n)); t != nil {
		m.Triggers = append(m.Triggers, t)
	}
}

func (r *servicesReader) kind(n ast.Node) string {
	s, ok := r.text(n, "type")
	if ok && s != trigger.Alexa && s != trigger.GitHub {
		r.fault(at(n), "type %q is unknown: %s", shorten(s), suggest(s, []string{trigger.Alexa, trigger.GitHub}))
	}
	return s
}

func (r *servicesReader) name(n ast.Node) string {
	s, ok := r.text(n, "service")
	if !ok {
		return ""
	}
	if err := checkName(s); err != nil {
		r.fault(at(n), "service: function name %v", err)
	}
	line, _ := position(at(n))
	if before, twice := r.lines[s]; twice {
		r.fault(at(n), "service %q is there twice, first in line %d: remove or rename one", shorten(s), before)
	}
	r.lines[s] = line
	return s
}

// trigger is nil for all but the first service of a kind, and where nothing
// would verify it.
func (r *servicesReader) trigger(kind, function string, at *token.Token) *Trigger {
	if kind == trigger.GitHub {
		if r.github != nil {
			line, _ := position(r.github)
			r.fault(at, "a push goes to one function, that of line %d: remove this service, or write a manifest of version 2", line)
			return nil
		}
		r.github = at
		return r.verified(at, r.githubTrigger(function))
	}
	if r.alexa != nil {
		return nil
	}
	r.alexa = at
	return r.verified(at, r.alexaTrigger())
}

func (r *servicesReader) alexaTrigger() *Trigger {
	t := &Trigger{Config: trigger.Config{Kind: trigger.Alexa}, Path: "/alexa", Apology: DefaultApology, Timeout: DefaultAlexaTimeout}
	if r.options.SkillID != "" {
		t.SkillIDs, t.IDOnly = []string{r.options.SkillID}, true
	}
	return t
}

func (r *servicesReader) githubTrigger(function string) *Trigger {
	t := &Trigger{
		Config: trigger.Config{Kind: trigger.GitHub}, Path: "/github",
		Routes: []Route{{Function: function, Filter: Filter{Events: []string{"push"}}}},
	}
	if len(r.options.GitHubSecret) > 0 {
		t.Secrets = []trigger.Secret{r.options.GitHubSecret}
	}
	return t
}

func (r *servicesReader) verified(at *token.Token, t *Trigger) *Trigger {
	if t.IDOnly || len(t.Secrets) > 0 {
		return t
	}
	if r.options.Insecure {
		t.Insecure = true
		return t
	}
	missing := map[string]string{trigger.Alexa: "skill id", trigger.GitHub: "secret"}[t.Kind]
	r.warn(at, "%s stays closed: no %s is given that could verify its requests", t.Path, missing)
	return nil
}
