package deploy_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestParsingAWrittenManifestGivesItBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		want := generator{rt, dir}.manifest()
		inYAML, inJSON := tree(want, "").yaml(""), tree(want, dir).json("")
		for _, text := range []string{inYAML, inJSON} {
			got, err := deploy.Parse("functions.yaml", []byte(text), dir)
			if err != nil {
				rt.Fatalf("%v\n%s", err, text)
			}
			checkPromises(t, got)
			got.Warnings = nil
			if different := differs(got, want); different != "" {
				rt.Fatalf("%s\n%s", different, text)
			}
		}
		if _, err := deploy.Check("functions.yaml", []byte(inJSON)); err != nil {
			rt.Fatalf("without its secrets: %v\n%s", err, inJSON)
		}
	})
}

// generator makes valid manifests that are all different.
type generator struct {
	*rapid.T
	dir string // for secret files
}

func (g generator) IntN(n int) int       { return rapid.IntRange(0, n-1).Draw(g.T, "n") }
func (g generator) Int64N(n int64) int64 { return rapid.Int64Range(0, n-1).Draw(g.T, "n") }
func (g generator) coin() bool           { return rapid.Bool().Draw(g.T, "coin") }

func (g generator) manifest() *deploy.Manifest {
	m := &deploy.Manifest{}
	for i := range 1 + g.IntN(5) {
		m.Functions = append(m.Functions, g.function(i))
	}
	for i := range g.IntN(5) {
		m.Triggers = append(m.Triggers, g.trigger(i, m.Functions))
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
		f.Image = fmt.Sprintf("registry.example.org:5000/a/b%d@sha256:%x", i, rapid.Uint64().Draw(g.T, "digest"))
	} else {
		f.Addresses = []string{fmt.Sprintf("10.0.%d.%d:%d", g.IntN(256), g.IntN(256), 1+g.IntN(65535)), "[fd00::1]:9999", "host_1.internal:80"}
	}
	f.Env = map[string]string{"EMPTY": "", fmt.Sprintf("V%d", i): g.text(40), "SPECIALS": "- : # {} [] ' \" \n | > & * ! % @ ` \\ ~"}
	f.Secrets = []string{"api-key", fmt.Sprintf("s_%d.x", i)}
	f.Configs = []string{fmt.Sprintf("c_%d", i)}
	f.Labels = map[string]string{"org.example/" + fmt.Sprint(i): g.text(40)}
	f.Resources = deploy.Resources{NanoCPUs: 1e6 * (1 + g.Int64N(1e6)), Memory: (6 + g.Int64N(1e6)) << 20}
	f.Input = []string{"a b", fmt.Sprintf("m%d", i)}[:g.IntN(3)]
	f.Payload = []deploy.Payload{deploy.PayloadPlain, deploy.PayloadCloudEvents}[g.IntN(2)]
	f.Command = []string{"-v", "-v", g.text(20) + "."}
	f.Constraints = []string{"node.labels.arch==arm", "node.role != manager"}
	return f
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

// tree has the names of secret files with the folder dir, or relative ones.
func tree(m *deploy.Manifest, dir string) node {
	var functions node
	for _, f := range m.Functions {
		functions = append(functions, pair{f.Name, functionNode(f)})
	}
	var triggers []any
	for _, t := range m.Triggers {
		triggers = append(triggers, triggerNode(t, dir))
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
		{"configs", list(f.Configs)},
		{"command", list(f.Command)},
		{"constraints", list(f.Constraints)},
		{"labels", mapNode(f.Labels)},
		{"resources", node{{"cpus", fmt.Sprintf("%d.%09d", f.Resources.NanoCPUs/1e9, f.Resources.NanoCPUs%1e9)}, {"memory", fmt.Sprintf("%dMiB", f.Resources.Memory>>20)}}},
		{"input", list(f.Input)},
		{"payload", string(f.Payload)},
	}
	if f.Image != "" {
		return append(n, pair{"image", f.Image})
	}
	return append(n, pair{"addresses", list(f.Addresses)})
}

func list(texts []string) []any {
	all := []any{}
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
			if len(value) == 0 {
				b.WriteString(" []")
			}
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
