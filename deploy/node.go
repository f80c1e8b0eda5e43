package deploy

import (
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// entry is one "key: value" of a mapping.
type entry struct {
	key   string
	at    *token.Token // of the key
	value ast.Node
}

// fields has a reader for the value of each key that a mapping may have.
type fields map[string]func(ast.Node)

// object reads a mapping by its fields; what names it in faults.
func (r *report) object(n ast.Node, what string, known fields) {
	r.read(r.entries(n, what), what, known)
}

func (r *report) read(entries []entry, what string, known fields) {
	for _, e := range entries {
		if read, ok := known[e.key]; ok {
			read(e.value)
			continue
		}
		r.fault(e.at, "unknown key %q in %s: %s", shorten(e.key), what, suggest(e.key, keys(known)))
	}
}

// entries returns what a mapping holds, each key once; null is an empty mapping.
func (r *report) entries(n ast.Node, what string) []entry {
	mapping, ok := n.(*ast.MappingNode)
	if !ok {
		if !isNull(n) {
			r.fault(at(n), "%s must be a mapping (lines of key: value), not %s", what, kind(n))
		}
		return nil
	}
	entries := make([]entry, 0, len(mapping.Values))
	first := make(map[string]int, len(mapping.Values))
	for _, pair := range mapping.Values {
		e := entry{at: pair.Key.GetToken(), value: pair.Value}
		if e.key, ok = scalar(pair.Key); !ok {
			r.fault(e.at, "a key of %s must be a text: put it in quotes", what)
			continue
		}
		line, _ := position(e.at)
		if before, twice := first[e.key]; twice {
			r.fault(e.at, "%q is twice in %s, first in line %d: remove or rename one", shorten(e.key), what, before)
			continue
		}
		first[e.key] = line
		entries = append(entries, e)
	}
	return entries
}

// items returns what a list holds; what names it in faults, example shows one.
func (r *report) items(n ast.Node, what, example string) []ast.Node {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fault(at(n), "%s must be a list, such as %s, not %s", what, example, kind(n))
		return nil
	}
	return list.Values
}

// text reads a scalar as it is written, also where YAML sees a number or true
// in it: version: 2 and version: "2" say the same.
func (r *report) text(n ast.Node, what string) (string, bool) {
	s, ok := scalar(n)
	switch {
	case isNull(n):
		r.fault(at(n), "%s has no value: write one, or remove the key", what)
	case !ok && n.Type() == ast.MappingType:
		r.fault(at(n), "%s must be a text, not %s: put one with a colon in quotes", what, kind(n))
	case !ok:
		r.fault(at(n), "%s must be a text, not %s", what, kind(n))
	case s == "":
		r.fault(at(n), "%s is empty: write a value, or remove the key", what)
	default:
		return s, true
	}
	return "", false
}

// texts reads a list of different texts. Each passes check, which returns the
// text to keep or an error that completes the sentence "<what> <text> ...".
func (r *report) texts(n ast.Node, what, example string, check func(string) (string, error)) []string {
	var all []string
	seen := map[string]bool{}
	for _, item := range r.items(n, what, example) {
		s, ok := r.text(item, "an entry of "+what)
		if !ok {
			continue
		}
		kept, err := check(s)
		if err != nil {
			r.fault(at(item), "%s: %q %v", what, shorten(s), err)
			continue
		}
		if seen[kept] {
			r.fault(at(item), "%s: %q is there twice: remove one", what, shorten(s))
			continue
		}
		seen[kept] = true
		all = append(all, kept)
	}
	return all
}

// some is texts for a list that chooses: an empty one chooses nothing.
func (r *report) some(n ast.Node, what, example string, check func(string) (string, error)) []string {
	before := len(r.faults)
	all := r.texts(n, what, example, check)
	if len(all) == 0 && len(r.faults) == before {
		r.fault(at(n), "%s is empty, so nothing would ever run: name some, or remove the key to take all", what)
	}
	return all
}

// integer reads a whole number from low to high, and returns low for a fault.
func (r *report) integer(n ast.Node, what string, low, high int) int {
	if _, ok := n.(*ast.IntegerNode); !ok {
		r.fault(at(n), "%s must be a whole number from %d to %d, not %s", what, low, high, kind(n))
		return low
	}
	written := n.GetToken().Value
	i, err := strconv.Atoi(written)
	if err != nil || i < low || i > high {
		r.fault(at(n), "%s is %s: write a whole number from %d to %d", what, written, low, high)
		return low
	}
	return i
}

// duration reads a time above zero, and returns high for a fault.
func (r *report) duration(n ast.Node, what string, high time.Duration) time.Duration {
	s, ok := r.text(n, what)
	if !ok {
		return high
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isNumber(s):
		r.fault(at(n), "%s %q has no unit: write %ss for seconds, or use ms, m or h", what, s, s)
	case err != nil:
		r.fault(at(n), "%s %q is not a duration: write a number and ms, s, m or h, such as 30s or 1h30m", what, s)
	case d <= 0:
		r.fault(at(n), "%s is %s: write a duration above zero", what, s)
	case d > high:
		r.fault(at(n), "%s is %s: the limit is %v", what, s, high)
	default:
		return d
	}
	return high
}

func (r *report) boolean(n ast.Node, what string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.fault(at(n), "%s must be true or false, not %s", what, kind(n))
		return false
	}
	return b.Value
}

// scalar is the text of a node that is neither null nor a collection.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null || n == nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// kind names the type of a node for people.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	}
	return "nothing"
}

// at is where a node begins. The token of a block mapping is its first colon.
func at(n ast.Node) *token.Token {
	if n == nil {
		return nil
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken()
	}
	return n.GetToken()
}
