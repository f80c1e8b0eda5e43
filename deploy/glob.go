package deploy

import (
	"regexp"
	"slices"
	"strings"
)

// glob is a list of patterns, of which one has to match the whole text:
// * stands for any characters but /, ** for any characters, ? for one
// character but /. All other characters stand for themselves.
type glob struct{ *regexp.Regexp }

// newGlob makes RE2 of the patterns, which takes time linear to the text.
func newGlob(patterns []string) (glob, error) {
	all := make([]string, len(patterns))
	for i, p := range patterns {
		all[i] = wildcards.Replace(regexp.QuoteMeta(p))
	}
	re, err := regexp.Compile(`^(?s:` + strings.Join(all, "|") + `)$`)
	return glob{re}, err
}

// wildcards are those of a pattern as QuoteMeta leaves them.
var wildcards = strings.NewReplacer(`\*\*`, `.*`, `\*`, `[^/]*`, `\?`, `[^/]`)

func (g glob) matchesAny(texts []string) bool { return slices.ContainsFunc(texts, g.MatchString) }
