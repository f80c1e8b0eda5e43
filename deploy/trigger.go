package deploy

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// carried are services whose events come through the senders that follow.
var carried = map[string]string{
	"s3": "sns, eventbridge or minio", "cloudwatch": "sns, eventbridge or firehose", "dynamodb": "eventbridge or firehose",
}

// signingSecret is the key for the signing tokens of GitLab.
const signingSecret = "signing-secret-file"

// triggerReader reads one entry of triggers.
type triggerReader struct {
	*manifestReader
	t     *Trigger
	what  string
	keys  map[string]*token.Token // all keys of the entry
	kind  *token.Token            // the key that names the kind
	open  bool                    // no skill id or topic is given
	route routeReader             // of the keys function, events and so on

	before int // faults of what stands before the entry
}

// trigger reads one entry; it is nil when its kind is not clear.
func (r *manifestReader) trigger(n ast.Node) *Trigger {
	before := len(r.faults)
	entries := r.entries(n, "a trigger")
	tr := &triggerReader{manifestReader: r, t: &Trigger{}, keys: map[string]*token.Token{}, before: before}
	kinds := trigger.Kinds()
	for _, e := range entries {
		tr.keys[e.key] = e.at
		if !slices.Contains(kinds, e.key) {
			continue
		}
		if tr.kind != nil {
			r.fault(e.at, "a trigger has one kind, here are %s and %s: write two triggers", tr.t.Kind, e.key)
			return nil
		}
		tr.t.Kind, tr.kind, tr.what = e.key, e.at, e.key+" trigger"
	}
	switch {
	case tr.kind != nil:
		tr.route.kind = tr.t.Kind
		tr.read(namesFirst(entries, tr.t.Kind), "the "+tr.what, tr.fields())
		tr.finish()
		return tr.t
	case len(r.faults) == before:
		r.noKind(n, entries)
	}
	return nil
}

// namesFirst brings forward what the trigger is called: that decides whether its
// secrets are read.
func namesFirst(entries []entry, kind string) []entry {
	isName := func(e entry) bool { return e.key == kind || e.key == "name" }
	names := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return !isName(e) })
	return append(names, slices.DeleteFunc(entries, isName)...)
}

// noKind reports a trigger of which no key names a kind.
func (r *manifestReader) noKind(n ast.Node, entries []entry) {
	for _, e := range entries {
		if by := carried[e.key]; by != "" {
			r.fault(e.at, "%s sends nothing by itself: its events come through a trigger of the kind %s", e.key, by)
			return
		}
		if near := nearest(e.key, trigger.Kinds()); near != "" {
			r.fault(e.at, "unknown trigger kind %q: did you mean %q?", e.key, near)
			return
		}
	}
	r.fault(at(n), "the trigger has no kind: begin it with alexa: <skill id>, or with one of %s and a name", strings.Join(trigger.Kinds(), ", "))
}

// fields are the keys that the kind has.
func (r *triggerReader) fields() fields {
	if r.t.Kind == trigger.Alexa {
		return r.alexa()
	}
	f := r.named()
	maps.Copy(f, r.route.fields(r.manifestReader))
	maps.Copy(f, r.ofKind())
	return f
}

// ofKind are the keys that only this kind has.
func (r *triggerReader) ofKind() fields {
	switch r.t.Kind {
	case trigger.StandardWebhooks:
		return fields{"dedupe": func(n ast.Node) { r.t.Dedupe = r.checked(n, "dedupe", trigger.CheckDedupe) }}
	case trigger.GitLab:
		return fields{signingSecret: func(n ast.Node) { r.t.SigningSecrets = r.secrets(n, signingSecret) }}
	case trigger.CloudEvents:
		return r.cloudEvents()
	case trigger.Webhook:
		return r.webhook()
	case trigger.SNS:
		return r.sns()
	case trigger.EventBridge:
		return r.eventBridge()
	case trigger.Firehose, trigger.MinIO, trigger.RustFS:
		return r.shaped()
	default:
		return nil
	}
}

// named are the keys of all kinds whose key is the name of the trigger.
func (r *triggerReader) named() fields {
	t := r.t
	return fields{
		t.Kind: func(n ast.Node) {
			t.Name = r.name(n, t.Kind)
			if r.keys["path"] == nil && t.Name != "" {
				t.Path = "/" + t.Kind + "/" + t.Name
			}
		},
		"path":        func(n ast.Node) { t.Path = r.path(n) },
		"secret-file": func(n ast.Node) { t.Secrets = r.secrets(n, "secret-file") },
		"insecure":    func(n ast.Node) { t.Insecure = r.boolean(n, "insecure") },
		"routes":      func(n ast.Node) { t.Routes = r.routes(n) },
	}
}

// checked reads a text. The error of check completes the sentence "<key> <text> ...".
func (r *triggerReader) checked(n ast.Node, key string, check func(string) error) string {
	s, ok := r.text(n, key)
	if !ok {
		return ""
	}
	if err := check(s); err != nil {
		r.fault(at(n), "%s %q %v", key, shorten(s), err)
	}
	return s
}

var triggerName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// name reads what tells triggers of one kind apart. With its kind it has to fit
// into one token of a subject.
func (r *triggerReader) name(n ast.Node, what string) string {
	name, ok := r.text(n, what)
	if !ok {
		return ""
	}
	switch {
	case !triggerName.MatchString(name), strings.Trim(name, ".") == "":
		r.fault(at(n), "%s %q is not a name: use letters, digits and - _ .", what, shorten(name))
		return ""
	case escapedLen(r.t.Kind+"-"+name) > maxToken:
		r.fault(at(n), "%s %q is too long: %s-%s takes more than %d bytes (each dot counts as three): shorten it",
			what, shorten(name), r.t.Kind, shorten(name), maxToken)
		return ""
	}
	return name
}

func (r *triggerReader) path(n ast.Node) string {
	s, ok := r.text(n, "path")
	if !ok {
		return ""
	}
	if err := checkPath(s); err != nil {
		r.fault(at(n), "path %q %v", shorten(s), err)
		return ""
	}
	return s
}
