package deploy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of the text, checked before it is parsed. A manifest with 1,000
// functions of ten settings each stays well inside them.
const (
	MaxSize = 1 << 20 // of a manifest, in bytes

	// maxTokens bounds the time of parsing, which grows with the square of the
	// number of keys in one mapping.
	maxTokens = 60_000

	// maxNesting bounds the recursion of the parser. A manifest needs 4.
	maxNesting = 32

	// maxBlankLines in a row, since the parser strips each from the end of a
	// text by copying the text, and maxTabs in a line, since for each in quotes
	// it looks at the rest of the line.
	maxBlankLines = 100
	maxTabs       = 100
)

// document parses the text into the one node that it holds, nil when it cannot
// be used; the reasons are then in the report.
func (r *report) document(data []byte) ast.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !r.checkText(data) {
		return nil
	}
	r.source = []rune(string(data))
	tokens := lexer.Tokenize(string(data))
	if !r.checkTokens(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err, data)
		return nil
	}
	return r.only(file.Docs)
}

// only returns the body of the one document with content.
func (r *report) only(docs []*ast.DocumentNode) ast.Node {
	var found ast.Node
	for _, doc := range docs {
		switch {
		case doc.Body == nil:
		case found == nil:
			found = doc.Body
		default:
			r.fault(cmp.Or(doc.Start, at(doc.Body)), "a second document begins here: put everything into one and remove the line between them")
			return nil
		}
	}
	if found == nil {
		r.faultAt(1, 1, "the manifest is empty: write functions: and triggers: into it")
	}
	return found
}

func (r *report) checkText(data []byte) bool {
	if len(data) > MaxSize {
		r.faultAt(1, 1, "the manifest is larger than %d MiB: split the work over several gateways", MaxSize>>20)
		return false
	}
	blank := 0
	for line, text := range lines(data) {
		blank++
		if strings.TrimSpace(text) != "" {
			blank = 0
		}
		if blank > maxBlankLines {
			r.faultAt(line, 1, "more than %d blank lines in a row: remove some", maxBlankLines)
			return false
		}
		if !r.checkLine(line, text) {
			return false
		}
	}
	return true
}

func (r *report) checkLine(line int, text string) bool {
	if strings.Count(text, "\t") > maxTabs {
		r.faultAt(line, 1, "more than %d tabs in a line: use blanks", maxTabs)
		return false
	}
	for i, c := range text {
		if why := refusedRune(c, text[i:]); why != "" {
			r.faultAt(line, utf8.RuneCountInString(text[:i])+1, "%s", why)
			return false
		}
	}
	return true
}

// refusedRune says why c, with which rest begins, cannot be in a manifest.
func refusedRune(c rune, rest string) string {
	switch {
	case c == utf8.RuneError && !strings.HasPrefix(rest, "\uFFFD"):
		return "not UTF-8: save the file in that encoding"
	case c < ' ' && c != '\t', c == 0x7f:
		return fmt.Sprintf("control character %U: remove it, or write it as an escape in double quotes", c)
	}
	return ""
}

// lines yields the line numbers and lines of the text, without line ends.
func lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		line := 0
		for text := range strings.Lines(string(data)) {
			line++
			if !yield(line, strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")) {
				return
			}
		}
	}
}

// checkTokens refuses the parts of YAML that a manifest does not need and that
// make it hard to read or expensive to parse: anchors above all, with which a
// few lines expand without end.
func (r *report) checkTokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.fault(tokens[maxTokens], "too much for one manifest (%d words and signs): split the work over several gateways", maxTokens)
		return false
	}
	if at := tooDeep(tokens); at != nil {
		r.fault(at, "nested more than %d levels deep: a manifest needs four", maxNesting)
		return false
	}
	before := len(r.faults)
	for _, t := range tokens {
		if why := refusedToken(t); why != "" {
			r.fault(t, "%s", why)
		}
	}
	return len(r.faults) == before
}

func refusedToken(t *token.Token) string {
	if t.Type == token.StringType && strings.Contains(t.Value, ": ") && !isBlock(t.Prev) {
		// The parser takes {a: b c: d} for one pair, which YAML does not allow.
		return "a colon and a blank in a text without quotes: put a comma before the key, or quotes around the text"
	}
	return refusedTokens[t.Type]
}

// isBlock reports whether t begins a text of several lines, with | or >.
func isBlock(t *token.Token) bool {
	for t != nil && t.Type == token.CommentType {
		t = t.Prev
	}
	return t != nil && (t.Type == token.LiteralType || t.Type == token.FoldedType)
}

var refusedTokens = map[token.Type]string{
	token.AnchorType:     "anchors (&name) are not supported: write the value where it is needed",
	token.AliasType:      "aliases (*name) are not supported: write the value out, or quote a text that begins with *",
	token.MergeKeyType:   "merge keys (<<) are not supported: write the keys out",
	token.TagType:        "tags (!name) are not supported: remove it, or quote a text that begins with !",
	token.DirectiveType:  "directives (%NAME) are not supported: remove the line",
	token.MappingKeyType: "keys with ? are not supported: write key: value",
}

// tooDeep returns the token at which the nesting passes the limit. In block
// style, what is open is known by its column: a line closes all that does not
// begin to the left of it.
func tooDeep(tokens token.Tokens) *token.Token {
	var columns []int
	flow, line := 0, 0
	for _, t := range tokens {
		if flow == 0 && t.Position.Line > line {
			columns = slices.DeleteFunc(columns, func(c int) bool { return c >= t.Position.Column })
		}
		line = t.Position.Line
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType:
			columns = append(columns, t.Position.Column)
		case token.MappingValueType:
			if flow == 0 && t.Prev != nil {
				columns = append(columns, t.Prev.Position.Column)
			}
		}
		if len(columns)+flow > maxNesting {
			return t
		}
	}
	return nil
}

// syntax reports the one error at which the parser stopped.
func (r *report) syntax(err error, data []byte) {
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &located) {
		r.faultAt(1, 1, "not valid YAML: %v", err)
		return
	}
	line, column := position(located.GetToken())
	if tab := tabIndent(data, line); tab > 0 {
		r.faultAt(line, tab, "a tab cannot indent YAML: use blanks")
		return
	}
	r.faultAt(line, column, "not valid YAML: %s (check the indentation, the brackets and the quotes around here)", located.GetMessage())
}

// tabIndent is the column of a tab in the indentation of a line, or 0.
func tabIndent(data []byte, wanted int) int {
	for line, text := range lines(data) {
		if line == wanted {
			indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
			return strings.IndexByte(indent, '\t') + 1
		}
	}
	return 0
}
