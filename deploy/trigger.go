package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxAlexaTimeout leaves a second of the eight that Alexa waits for the
	// way there and back.
	maxAlexaTimeout = 7 * time.Second

	maxApology = 600 // characters; it is spoken
)

// kinds are the senders that may call; laterKinds are known by name only.
var (
	kinds      = []string{KindAlexa, KindGitHub}
	laterKinds = []string{
		"bitbucket", "cloudevents", "cloudwatch", "dynamodb", "eventbridge", "firehose", "forgejo", "gitea",
		"gitlab", "minio", "s3", "slack", "sns", "standard-webhooks", "stripe",
	}
)

// triggerReader reads one entry of triggers.
type triggerReader struct {
	*manifestReader
	t    *Trigger
	what string
	keys map[string]*token.Token // all keys of the entry
	kind *token.Token            // the key that names the kind
	open bool                    // no skill id is given
}

// trigger reads one entry; it is nil when its kind is not clear.
func (r *manifestReader) trigger(n ast.Node) *Trigger {
	before := len(r.faults)
	entries := r.entries(n, "a trigger")
	tr := &triggerReader{manifestReader: r, t: &Trigger{}, keys: map[string]*token.Token{}}
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
		tr.read(entries, "the "+tr.what, tr.fields())
		tr.finish()
		return tr.t
	case len(r.faults) == before:
		r.noKind(n, entries)
	}
	return nil
}

// noKind reports a trigger of which no key names a kind.
func (r *manifestReader) noKind(n ast.Node, entries []entry) {
	for _, e := range entries {
		if slices.Contains(laterKinds, e.key) {
			r.fault(e.at, "unknown trigger kind %q: this version knows %s", e.key, strings.Join(kinds, " and "))
			return
		}
	}
	for _, e := range entries {
		if near := nearest(e.key, kinds); near != "" {
			r.fault(e.at, "unknown trigger kind %q: did you mean %q?", e.key, near)
			return
		}
	}
	r.fault(at(n), "the trigger has no kind: begin it with alexa: <skill id> or github: <name>")
}

func (r *triggerReader) fields() fields {
	if r.t.Kind == KindAlexa {
		return r.alexa()
	}
	return r.github()
}

func (r *triggerReader) alexa() fields {
	t := r.t
	t.Path, t.Apology, t.Timeout = "/alexa", DefaultApology, DefaultAlexaTimeout
	return fields{
		KindAlexa:  func(n ast.Node) { t.SkillIDs = r.skillIDs(n) },
		"name":     func(n ast.Node) { t.Name = r.name(n, "name") },
		"path":     func(n ast.Node) { t.Path = r.path(n) },
		"function": func(n ast.Node) { t.Function = r.functionName(n, "function") },
		"intents":  func(n ast.Node) { t.Intents = r.intents(n) },
		"apology":  func(n ast.Node) { t.Apology = r.apology(n) },
		"timeout":  func(n ast.Node) { t.Timeout = r.duration(n, "timeout of an alexa trigger", maxAlexaTimeout) },
		"verify":   func(n ast.Node) { t.IDOnly = r.verify(n) },
		"insecure": func(n ast.Node) { t.Insecure = r.boolean(n, "insecure") },
	}
}

func (r *triggerReader) github() fields {
	t := r.t
	return fields{
		KindGitHub: func(n ast.Node) {
			t.Name = r.name(n, KindGitHub)
			if r.keys["path"] == nil && t.Name != "" {
				t.Path = "/github/" + t.Name
			}
		},
		"path":        func(n ast.Node) { t.Path = r.path(n) },
		"function":    func(n ast.Node) { t.Function = r.functionName(n, "function") },
		"events":      func(n ast.Node) { t.Events = r.events(n) },
		"secret-file": func(n ast.Node) { t.Secret = r.secret(n) },
		"insecure":    func(n ast.Node) { t.Insecure = r.boolean(n, "insecure") },
	}
}

// finish looks at the trigger as a whole and at those before it.
func (r *triggerReader) finish() {
	if r.t.Kind == KindGitHub && r.keys["function"] == nil {
		r.fault(r.kind, "the %s has no function: add function: <name>", r.what)
	}
	r.verified()
	r.uniquePath()
	r.uniqueSource()
}

// verified sees to it that a trigger without any check is one on purpose.
func (r *triggerReader) verified() {
	check, add := "secret-file", "secret-file: <file>"
	if r.t.Kind == KindAlexa {
		check, add = "verify", "verify: id-only (whoever knows the skill id may call)"
	}
	switch given := r.keys[check] != nil; {
	case given && r.t.Insecure:
		r.fault(r.keys["insecure"], "insecure: true and %s exclude each other: remove one", check)
	case !given && !r.t.Insecure:
		r.fault(r.kind, "nothing verifies the %s: add %s, or insecure: true (everybody may call)", r.what, add)
	}
	if r.open && !r.t.Insecure {
		r.fault(r.kind, "the alexa trigger has no skill id: write alexa: amzn1.ask.skill.…")
	}
}

func (r *triggerReader) uniquePath() {
	if r.t.Path == "" {
		return
	}
	where := cmp.Or(r.keys["path"], r.kind)
	if before, taken := r.paths[r.t.Path]; taken {
		r.fault(where, "path %s belongs to the trigger of line %d: give this one another path", r.t.Path, before)
		return
	}
	r.paths[r.t.Path], _ = position(where)
}

func (r *triggerReader) uniqueSource() {
	if nameless := r.t.Kind == KindAlexa && r.keys["name"] == nil; r.t.Name == "" && !nameless {
		return
	}
	source := r.t.Source()
	if before, taken := r.sources[source]; taken {
		r.fault(r.kind, "the trigger of line %d is called %s too: give this one another name", before, source)
		return
	}
	r.sources[source], _ = position(r.kind)
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

func checkSkillID(s string) (string, error) {
	if !printable(s) {
		return "", errors.New("has blanks or control characters: copy the id from the Alexa console")
	}
	return s, nil
}

// skillIDs reads one skill id, a list of them, or nothing for any skill.
func (r *triggerReader) skillIDs(n ast.Node) []string {
	if list, ok := n.(*ast.SequenceNode); ok && len(list.Values) > 0 {
		return r.texts(n, KindAlexa, "[amzn1.ask.skill.…]", checkSkillID)
	} else if ok || isNull(n) {
		r.open = true
		return nil
	}
	id, ok := r.text(n, KindAlexa)
	if !ok {
		return nil
	}
	if _, err := checkSkillID(id); err != nil {
		r.fault(at(n), "%s: %q %v", KindAlexa, id, err)
	}
	return []string{id}
}

func (r *triggerReader) intents(n ast.Node) map[string]string {
	intents := map[string]string{}
	for _, e := range r.entries(n, "intents") {
		intents[e.key] = r.functionName(e.value, fmt.Sprintf("intent %q", shorten(e.key)))
	}
	if len(intents) == 0 {
		return nil
	}
	return intents
}

func (r *triggerReader) apology(n ast.Node) string {
	s, ok := r.text(n, "apology")
	if ok && len([]rune(s)) > maxApology {
		r.fault(at(n), "apology is longer than %d characters: shorten it, it is spoken", maxApology)
	}
	return s
}

func (r *triggerReader) verify(n ast.Node) bool {
	s, ok := r.text(n, "verify")
	if ok && s != "id-only" {
		r.fault(at(n), "verify %q is unknown: use id-only", s)
	}
	return true
}

var eventName = regexp.MustCompile(`^[a-z_]+$`)

func (r *triggerReader) events(n ast.Node) []string {
	before := len(r.faults)
	events := r.texts(n, "events", "[push, release]", func(s string) (string, error) {
		if !eventName.MatchString(s) {
			return "", errors.New("is not an event: use names such as push or pull_request")
		}
		return s, nil
	})
	if len(events) == 0 && len(r.faults) == before {
		r.fault(at(n), "events is empty, so nothing would ever run: name events, or remove the key to take all")
	}
	return events
}

func (r *triggerReader) secret(n ast.Node) Secret {
	file, ok := r.text(n, "secret-file")
	if !ok {
		return nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(r.dir, file)
	}
	secret, err := readSecret(file)
	if err != nil {
		r.fault(at(n), "secret-file %q %v", file, err)
	}
	return secret
}
