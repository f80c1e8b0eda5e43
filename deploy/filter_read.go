package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// places are the keys of filters that only some kinds have.
func (r *routeReader) places(m *manifestReader) fields {
	f := &r.Filter
	if _, ok := forges[r.kind]; ok {
		return fields{
			"repositories": func(n ast.Node) { f.Repositories = m.patterns(n, "repositories", "[acme/*]", checkRepository) },
			"branches":     func(n ast.Node) { f.Branches = m.patterns(n, "branches", "[main, release/*]", checkBranch) },
		}
	}
	if slices.Contains(storages, r.kind) {
		return fields{
			"buckets": func(n ast.Node) { f.Buckets = m.patterns(n, "buckets", "[photos]", checkBucket) },
			"keys":    func(n ast.Node) { f.Keys = m.patterns(n, "keys", "[uploads/, '**.jpg']", checkKey) },
		}
	}
	return nil
}

// maxPattern in bytes is the length of the longest key in S3.
const maxPattern = 1024

// patterns reads a list of patterns with wildcards.
func (r *manifestReader) patterns(n ast.Node, key, example string, check func(string) error) []string {
	return r.some(n, key, example, func(s string) (string, error) {
		switch {
		case len(s) > maxPattern:
			return "", fmt.Errorf("is longer than %d bytes: shorten it with a *", maxPattern)
		case strings.ContainsFunc(s, unicode.IsControl):
			return "", errors.New("has control characters: put a ? in their place")
		}
		return s, check(s)
	})
}

// The checks find patterns that match nothing, because they are written as
// another program wants them.

func checkRepository(s string) error {
	switch {
	case strings.ContainsAny(s, `[]{}\!: `):
		return errors.New("is not a repository: write owner/name, where * stands for any characters but /, and ** for any")
	case !strings.Contains(s, "/") && !strings.Contains(s, "**"):
		return fmt.Errorf("has no owner: write owner/name, such as acme/%s", s)
	}
	return nil
}

func checkBranch(s string) error {
	switch {
	case strings.HasPrefix(s, "refs/"):
		return errors.New("begins with refs/: write the name alone, such as main")
	case strings.ContainsAny(s, `[]\~^: `), strings.HasPrefix(s, "!"):
		return errors.New("is not a branch: write its name, where * stands for any characters but /, and ** for any; for all others use if")
	}
	return nil
}

func checkBucket(s string) error {
	if strings.ContainsAny(s, `/[]{}\! `) {
		return errors.New("is not a bucket: write its name, where * stands for any characters")
	}
	return nil
}

func checkKey(s string) error {
	if strings.HasPrefix(s, "/") {
		return errors.New("begins with /, as no key does: remove it")
	}
	return nil
}

// condition reads an expression. Each of its faults stands where it is in the file.
func (r *report) condition(n ast.Node) string {
	s, ok := r.text(n, "if")
	if !ok {
		return ""
	}
	_, err := compile(s)
	var found mistakes
	switch {
	case errors.As(err, &found):
		for _, m := range found {
			line, column := r.inside(n, s, m)
			r.faultAt(line, column, "if: %s", m.text)
		}
	case err != nil:
		r.fault(at(n), "if: %v", err)
	}
	return strings.TrimRightFunc(s, unicode.IsSpace)
}

// inside finds the place of a mistake in the text s of a scalar. It follows s in
// the file character by character, past the quotes, escapes, line ends and
// indentation that are in the file alone.
func (r *report) inside(n ast.Node, s string, m mistake) (line, column int) {
	c := newCursor(r.source, at(n))
	text := []rune(s)
	target := offsetOf(text, m)
	for _, wanted := range text[:target] {
		if !unicode.IsSpace(wanted) && !c.pass(wanted) {
			return position(at(n))
		}
	}
	if target < len(text) && !unicode.IsSpace(text[target]) && !c.find(text[target]) {
		return position(at(n))
	}
	return c.line, c.column
}

// offsetOf is the place of a mistake in a text, in characters from 0.
func offsetOf(text []rune, m mistake) int {
	line := 1
	for i, c := range text {
		if line == m.line {
			return min(i+m.column-1, len(text))
		}
		if c == '\n' {
			line++
		}
	}
	return len(text)
}

// cursor is a place in a text.
type cursor struct {
	rest         []rune
	line, column int // from 1
}

// newCursor begins where the text of a scalar does: behind the quote, or in the
// line after | or >.
func newCursor(source []rune, at *token.Token) *cursor {
	line, column := position(at)
	switch at.Type {
	case token.LiteralType, token.FoldedType:
		line, column = line+1, 1
	case token.SingleQuoteType, token.DoubleQuoteType:
		column++
	}
	c := &cursor{source, 1, 1}
	for len(c.rest) > 0 && (c.line < line || c.line == line && c.column < column) {
		c.next()
	}
	return c
}

func (c *cursor) next() {
	c.column++
	if c.rest[0] == '\n' {
		c.line, c.column = c.line+1, 1
	}
	c.rest = c.rest[1:]
}

// find goes on to a character, and reports whether there is one.
func (c *cursor) find(wanted rune) bool {
	for len(c.rest) > 0 && c.rest[0] != wanted {
		c.next()
	}
	return len(c.rest) > 0
}

// pass is find, and goes behind the character.
func (c *cursor) pass(wanted rune) bool {
	found := c.find(wanted)
	if found {
		c.next()
	}
	return found
}
