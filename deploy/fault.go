package deploy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Fault is one thing that is wrong with a manifest, and what to do about it.
type Fault struct {
	File    string
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
}

func (f Fault) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// Faults is everything that is wrong with a manifest, sorted by line. It is the
// error that Parse and Load return for a manifest that could be read and is wrong.
type Faults []Fault

// Error has one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// report collects the faults and warnings of one file.
type report struct {
	file     string
	source   []rune // the text
	faults   Faults
	warnings []string
}

func (r *report) fault(at *token.Token, format string, args ...any) {
	r.faults = append(r.faults, r.remark(at, format, args...))
}

func (r *report) warn(at *token.Token, format string, args ...any) {
	r.warnings = append(r.warnings, r.remark(at, format, args...).String())
}

func (r *report) faultAt(line, column int, format string, args ...any) {
	r.faults = append(r.faults, Fault{r.file, line, column, fmt.Sprintf(format, args...)})
}

func (r *report) remark(at *token.Token, format string, args ...any) Fault {
	line, column := position(at)
	return Fault{r.file, line, column, fmt.Sprintf(format, args...)}
}

// result is m with its warnings, or all faults sorted.
func (r *report) result(m *Manifest) (*Manifest, error) {
	if len(r.faults) == 0 {
		m.Warnings = r.warnings
		return m, nil
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return nil, r.faults
}

// position is never below 1:1, also for tokens that the parser made up.
func position(t *token.Token) (line, column int) {
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return max(1, t.Position.Line), max(1, t.Position.Column)
}
