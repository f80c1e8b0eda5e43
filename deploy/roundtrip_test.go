package deploy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestParsingAWrittenManifestGivesItBack(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(300) {
		g := generator{rand.New(rand.NewPCG(seed, 1)), dir, t}
		want := g.manifest()
		root := tree(want)
		for style, text := range map[string]string{"YAML": root.yaml(""), "JSON": root.json("")} {
			got, err := deploy.Parse("functions.yaml", []byte(text), dir)
			if err != nil {
				t.Fatalf("seed %d, %s: %v\n%s", seed, style, err, text)
			}
			got.Warnings = nil
			equal(t, got, want)
			if t.Failed() {
				t.Fatalf("seed %d, %s:\n%s", seed, style, text)
			}
		}
	}
}

// generator makes valid manifests that are all different.
type generator struct {
	*rand.Rand
	dir string // for secret files
	t   *testing.T
}

func (g generator) manifest() *deploy.Manifest {
	m := &deploy.Manifest{}
	for i := range 1 + g.IntN(5) {
		m.Functions = append(m.Functions, g.function(i))
	}
	for i := range g.IntN(5) {
		if g.IntN(2) == 0 {
			m.Triggers = append(m.Triggers, g.alexa(i, m.Functions))
		} else {
			m.Triggers = append(m.Triggers, g.github(i, m.Functions))
		}
	}
	return m
}

func (g generator) function(i int) *deploy.Function {
	f := deploy.NewFunction(fmt.Sprintf("%s%d", g.text(4), i))
	if g.IntN(4) == 0 {
		return f
	}
	f.Lifecycle = deploy.LifecycleServer
	f.Concurrency = 1 + g.IntN(1000)
	f.Timeout = g.duration(24 * time.Hour)
	f.Replicas.Min = g.IntN(1001)
	f.Replicas.Max = max(1, f.Replicas.Min) + g.IntN(1001-max(1, f.Replicas.Min))
	f.Retry = deploy.Retry{Attempts: 1 + g.IntN(100), Initial: g.duration(time.Hour), MaxAge: g.duration(47 * time.Hour)}
	f.Retry.Max = f.Retry.Initial + g.duration(time.Hour)
	if g.IntN(2) == 0 {
		f.Image = fmt.Sprintf("registry.example.org:5000/a/b%d@sha256:%x", i, g.Uint64())
	} else {
		f.Addresses = []string{fmt.Sprintf("10.0.%d.%d:%d", g.IntN(256), g.IntN(256), 1+g.IntN(65535)), "[fd00::1]:9999", "host_1.internal:80"}
	}
	f.Env = map[string]string{"EMPTY": "", fmt.Sprintf("V%d", i): g.text(40), "SPECIALS": "- : # {} [] ' \" \n | > & * ! % @ ` \\ ~"}
	f.Secrets = []string{"api-key", fmt.Sprintf("s_%d.x", i)}
	f.Constraints = []string{"node.labels.arch==arm", "node.role != manager"}
	return f
}

func (g generator) alexa(i int, functions []*deploy.Function) *deploy.Trigger {
	t := &deploy.Trigger{
		Kind: "alexa", Name: fmt.Sprintf("home.%d", i), Path: fmt.Sprintf("/alexa/%d", i), Function: g.one(functions),
		Intents: map[string]string{"AMAZON.HelpIntent": g.one(functions), g.text(10) + "Intent": g.one(functions)},
		Apology: g.text(100) + "!", Timeout: g.duration(7 * time.Second),
	}
	for n := range 1 + g.IntN(3) {
		t.SkillIDs = append(t.SkillIDs, fmt.Sprintf("amzn1.ask.skill.%d", n))
	}
	t.IDOnly = g.IntN(2) == 0
	t.Insecure = !t.IDOnly
	return t
}

func (g generator) github(i int, functions []*deploy.Function) *deploy.Trigger {
	t := &deploy.Trigger{
		Kind: "github", Name: fmt.Sprintf("Acme_%d", i), Path: fmt.Sprintf("/~hooks/Acme-%d", i), Function: g.one(functions),
		Events: []string{"push", "pull_request"}[:1+g.IntN(2)],
	}
	if t.Insecure = g.IntN(2) == 0; !t.Insecure {
		t.Secret = deploy.Secret(g.text(20) + "x")
		writeFile(g.t, filepath.Join(g.dir, t.Name), string(t.Secret)+"\r\n")
	}
	return t
}

func (g generator) one(functions []*deploy.Function) string {
	return functions[g.IntN(len(functions))].Name
}

func (g generator) duration(most time.Duration) time.Duration {
	return time.Duration(1 + g.Int64N(int64(most)))
}

// text is up to n characters that are neither blank nor control characters at
// its ends, of one, two, three and four bytes.
func (g generator) text(n int) string {
	letters := []rune("abcXYZ019.*>/-_:#{}[],&!|'\"%@`?~=<ü→😀")
	var b strings.Builder
	for range g.IntN(n + 1) {
		b.WriteRune(letters[g.IntN(len(letters))])
	}
	return b.String()
}

// node is a mapping with an order, as it is written.
type node []pair

type pair struct {
	key   string
	value any // node, []any, string, int or bool
}

func tree(m *deploy.Manifest) node {
	var functions node
	for _, f := range m.Functions {
		functions = append(functions, pair{f.Name, functionNode(f)})
	}
	var triggers []any
	for _, t := range m.Triggers {
		triggers = append(triggers, triggerNode(t))
	}
	// Triggers come first to see that the order does not matter.
	return node{{"triggers", triggers}, {"version", 2}, {"functions", functions}}
}

func functionNode(f *deploy.Function) node {
	if f.Lifecycle == deploy.LifecycleAuto {
		return nil
	}
	n := node{
		{"lifecycle", string(f.Lifecycle)},
		{"concurrency", f.Concurrency},
		{"timeout", f.Timeout.String()},
		{"replicas", node{{"min", f.Replicas.Min}, {"max", f.Replicas.Max}}},
		{"retry", node{
			{"attempts", f.Retry.Attempts},
			{"initial", f.Retry.Initial.String()},
			{"max", f.Retry.Max.String()},
			{"max-age", f.Retry.MaxAge.String()},
		}},
		{"env", mapNode(f.Env)},
		{"secrets", list(f.Secrets)},
		{"constraints", list(f.Constraints)},
	}
	if f.Image != "" {
		return append(n, pair{"image", f.Image})
	}
	return append(n, pair{"addresses", list(f.Addresses)})
}

func triggerNode(t *deploy.Trigger) node {
	n := node{{"path", t.Path}, {"function", t.Function}}
	if t.Kind == "alexa" {
		n = append(n, pair{"alexa", list(t.SkillIDs)}, pair{"name", t.Name}, pair{"intents", mapNode(t.Intents)},
			pair{"apology", t.Apology}, pair{"timeout", t.Timeout.String()})
	} else {
		n = append(n, pair{"github", t.Name}, pair{"events", list(t.Events)})
	}
	switch {
	case t.Insecure:
		return append(n, pair{"insecure", true})
	case t.IDOnly:
		return append(n, pair{"verify", "id-only"})
	}
	return append(n, pair{"secret-file", t.Name})
}

func list(texts []string) []any {
	var all []any
	for _, s := range texts {
		all = append(all, s)
	}
	return all
}

func mapNode(m map[string]string) node {
	var n node
	for key, value := range m {
		n = append(n, pair{key, value})
	}
	return n
}

// yaml writes block style, with the lightest quotes that a text allows.
func (n node) yaml(indent string) string {
	var b strings.Builder
	for _, p := range n {
		b.WriteString(indent + plainOrQuoted(p.key) + ":")
		switch value := p.value.(type) {
		case node:
			b.WriteString("\n" + value.yaml(indent+"  "))
		case []any:
			b.WriteString("\n")
			for _, item := range value {
				if entry, ok := item.(node); ok {
					b.WriteString(indent + "- " + strings.TrimPrefix(entry.yaml(indent+"  "), indent+"  "))
				} else {
					b.WriteString(indent + "- " + plainOrQuoted(item) + "\n")
				}
			}
		default:
			b.WriteString(" " + plainOrQuoted(value) + "\n")
		}
	}
	return b.String()
}

var plainText = regexp.MustCompile(`^[A-Z][A-Za-z0-9_.*>/-]*$`)

func plainOrQuoted(value any) string {
	s, ok := value.(string)
	switch {
	case !ok:
		return fmt.Sprint(value)
	case plainText.MatchString(s):
		return s
	case !strings.Contains(s, "\n"):
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return quoted(s)
}

func quoted(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// json writes with tabs, as many tools do.
func (n node) json(indent string) string {
	var pairs []string
	for _, p := range n {
		text := ""
		switch value := p.value.(type) {
		case node:
			text = value.json(indent + "\t")
		case []any:
			var items []string
			for _, item := range value {
				if entry, ok := item.(node); ok {
					items = append(items, entry.json(indent+"\t"))
				} else {
					items = append(items, quoted(item))
				}
			}
			text = "[" + strings.Join(items, ", ") + "]"
		default:
			text = quoted(value)
		}
		pairs = append(pairs, indent+"\t"+quoted(p.key)+":\t"+text)
	}
	return "{\n" + strings.Join(pairs, ",\n") + "\n" + indent + "}"
}
