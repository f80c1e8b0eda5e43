package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Errors of SetPaused and SetReplicas.
var (
	// ErrNotNamed means that the manifest does not name the function.
	ErrNotNamed = errors.New("the manifest does not name this function: add it to functions")
	// ErrNotDeployed means that the function has no image, so its tasks are somebody else's.
	ErrNotDeployed = errors.New("the function has no image: whoever runs its tasks says how many there are")
	// ErrByHand means that the text is written in a way that a program does not change safely.
	ErrByHand = errors.New("the manifest is written in a way that only a person can change: edit it and apply it")
)

// SetPaused returns the text of a manifest with the key paused of a function set. All else stays as it is, byte for byte:
// comments, order, line ends. A function that goes on loses the key again where it stands for itself. The error is a
// Faults when the manifest has any, ErrNotNamed or ErrByHand.
func SetPaused(text []byte, function string, paused bool) ([]byte, error) {
	e, f, err := newEdit(text, function)
	if err != nil || f.Paused == paused {
		return text, err
	}
	if paused || !e.forget("paused", "true") {
		e.set(strconv.FormatBool(paused), "paused")
	}
	return e.done("paused")
}

// SetReplicas is SetPaused for the number of tasks. The error may also be ErrNotDeployed, or say which numbers are taken.
func SetReplicas(text []byte, function string, r Replicas) ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	e, f, err := newEdit(text, function)
	switch {
	case err != nil:
		return nil, err
	case f.Image == "":
		return nil, ErrNotDeployed
	case f.Replicas == r:
		return text, nil
	}
	if replicas := e.member("replicas"); replicas == nil || isNull(replicas.Value) {
		e.set(fmt.Sprintf("{%s: %d, %s: %d}", e.name("min"), r.Min, e.name("max"), r.Max), "replicas")
	} else {
		e.set(strconv.Itoa(r.Min), "replicas", "min")
		e.set(strconv.Itoa(r.Max), "replicas", "max")
	}
	return e.done("replicas")
}

// Check says which numbers are taken, when these are not.
func (r Replicas) Check() error {
	switch {
	case r.Min < 0, r.Max > maxReplicas, r.Max < r.Min:
		return fmt.Errorf("the least and the greatest number of tasks are from 0 to %d, the least first", maxReplicas)
	case r.Max == 0:
		return errors.New("the greatest number of tasks is at least 1: take 0 and 1 for no task while there is no work, or pause the function")
	}
	return nil
}

const byteOrderMark = "\ufeff"

// edit changes the settings of one function in the text of a manifest, where they are.
type edit struct {
	text     string // with LF, and without byte order mark
	bom      string
	crlf     bool
	function string
	before   *Manifest
	failed   bool
}

// newEdit reads the manifest, without secrets, and finds the function.
func newEdit(text []byte, function string) (*edit, *Function, error) {
	e := &edit{text: string(text), function: function}
	var err error
	if e.before, err = Check("manifest", text); err != nil {
		return nil, nil, err
	}
	f, ok := e.before.Function(function)
	if !ok {
		return nil, nil, ErrNotNamed
	}
	if rest, ok := strings.CutPrefix(e.text, byteOrderMark); ok {
		e.bom, e.text = byteOrderMark, rest
	}
	// The parser counts lines wrongly where they end with CRLF.
	if n := strings.Count(e.text, "\r\n"); n > 0 {
		if n != strings.Count(e.text, "\n") {
			return nil, nil, ErrByHand
		}
		e.crlf, e.text = true, strings.ReplaceAll(e.text, "\r\n", "\n")
	}
	return e, f, nil
}

// done returns the text, once it has proved to differ in nothing but one key of the function.
func (e *edit) done(key string) ([]byte, error) {
	if e.failed {
		return nil, ErrByHand
	}
	text := e.text
	if e.crlf {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	text = e.bom + text
	after, err := Check("manifest", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrByHand, err)
	}
	d := Compare(e.before, after)
	if len(d) != 1 || d[0].Action != ActionChanged || d[0].Kind != "function" || d[0].Name != e.function || !slices.Equal(d[0].Keys, []string{key}) {
		return nil, ErrByHand
	}
	return []byte(text), nil
}

// root is the text as it is now.
func (e *edit) root() ast.Node { return (&report{}).document([]byte(e.text)) }

// name is a key as the manifest would write it: a manifest in JSON has all in quotes.
func (e *edit) name(key string) string {
	if root, ok := e.root().(*ast.MappingNode); ok && root.IsFlowStyle {
		return strconv.Quote(key)
	}
	return key
}

// member finds a setting of the function, or one inside of it; nil when there is none.
func (e *edit) member(path ...string) *ast.MappingValueNode {
	node, found := e.root(), (*ast.MappingValueNode)(nil)
	for _, key := range append([]string{"functions", e.function}, path...) {
		mapping, ok := node.(*ast.MappingNode)
		if !ok {
			return nil
		}
		at := slices.IndexFunc(mapping.Values, func(v *ast.MappingValueNode) bool { s, ok := scalar(v.Key); return ok && s == key })
		if at < 0 {
			return nil
		}
		found = mapping.Values[at]
		node = found.Value
	}
	return found
}

// set writes a value, in YAML, in place of the scalar or null at a path, or adds it. All above the last key is there.
func (e *edit) set(value string, path ...string) {
	last := len(path) - 1
	if old := e.member(path...); old != nil {
		e.replace(old, value)
		return
	}
	above := e.member(path[:last]...)
	if above == nil {
		e.failed = true
		return
	}
	pair := e.name(path[last]) + ": " + value
	mapping, ok := above.Value.(*ast.MappingNode)
	switch {
	case !ok:
		e.replace(above, "{"+pair+"}")
	case mapping.IsFlowStyle && len(mapping.Values) > 0:
		e.splice(e.offset(mapping.Start)+1, 0, pair+", ")
	case mapping.IsFlowStyle:
		e.splice(e.offset(mapping.Start)+1, 0, pair)
	default:
		at := e.offset(mapping.Values[0].Key.GetToken())
		e.splice(at, 0, pair+"\n"+e.indentation(at))
	}
}

// replace writes another value in place of a scalar, or of null, which may not be written at all.
func (e *edit) replace(pair *ast.MappingValueNode, value string) {
	if isNull(pair.Value) {
		at := e.offset(pair.Start) + 1
		rest := strings.TrimLeft(e.text[at:], " ")
		for _, null := range []string{"null", "~"} {
			if strings.HasPrefix(rest, null) {
				e.splice(len(e.text)-len(rest), len(null), value)
				return
			}
		}
		e.splice(at, 0, " "+value)
		return
	}
	at, old := e.offset(pair.Value.GetToken()), pair.Value.GetToken().Value
	if _, ok := scalar(pair.Value); !ok || !strings.HasPrefix(e.text[at:], old) {
		e.failed = true
		return
	}
	e.splice(at, len(old), value)
}

// forget removes a setting that has a line of its own, or that is written as set writes it. It reports whether it did.
func (e *edit) forget(key, value string) bool {
	pair, function := e.member(key), e.member()
	written := e.name(key) + ": " + value
	mapping, ok := function.Value.(*ast.MappingNode)
	if pair == nil || !ok {
		return false
	}
	at := e.offset(pair.Key.GetToken())
	rest, found := strings.CutPrefix(e.text[at:], written)
	alone := len(mapping.Values) == 1
	switch {
	case !found:
		return false
	case mapping.IsFlowStyle && alone && e.name("") == "" && strings.HasSuffix(e.text[:at], ": {") && strings.HasPrefix(rest, "}"):
		e.splice(at-2, len(written)+3, "")
	case mapping.IsFlowStyle && strings.HasPrefix(rest, ", "):
		e.splice(at, len(written)+2, "")
	case !mapping.IsFlowStyle && !alone && strings.HasPrefix(rest, "\n"):
		begin := at - len(e.indentation(at))
		e.splice(begin, at-begin+len(written)+1, "")
	default:
		return false
	}
	return true
}

// splice replaces n bytes.
func (e *edit) splice(at, n int, by string) {
	if !e.failed {
		e.text = e.text[:at] + by + e.text[at+n:]
	}
}

// indentation is what is before a key that begins its line.
func (e *edit) indentation(at int) string {
	indent := e.text[strings.LastIndexByte(e.text[:at], '\n')+1 : at]
	if strings.Trim(indent, " ") != "" {
		e.failed = true
	}
	return indent
}

// offset is where a token begins, in bytes.
func (e *edit) offset(t *token.Token) int {
	line, column := position(t)
	at := 0
	for ; line > 1; line-- {
		end := strings.IndexByte(e.text[at:], '\n')
		if end < 0 {
			e.failed = true
			return 0
		}
		at += end + 1
	}
	for range column - 1 {
		_, size := utf8.DecodeRuneInString(e.text[at:])
		at += size
	}
	return at
}
