package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxCandidates bounds the work for one suggestion.
const maxCandidates = 100

// suggest completes a fault on a word that is not among the known ones.
func suggest(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "use one of " + strings.Join(known, ", ")
}

// nearest is the known word which is written almost like word, or "".
func nearest(word string, known []string) string {
	if len(known) > maxCandidates {
		return ""
	}
	best, least := "", 3
	for _, k := range known {
		a, b := plain(word), plain(k)
		if d := distance(a, b); d < least && d*3 <= max(len(a), len(b)) {
			best, least = k, d
		}
	}
	return best
}

// plain leaves out what people write differently: secret_file, secretFile.
func plain(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance is the number of bytes to insert, remove or replace (Levenshtein).
// Words that cannot be near, or are no words, get their length uncompared.
func distance(a, b string) int {
	longest := max(len(a), len(b))
	if longest-min(len(a), len(b)) > 2 || longest > maxToken {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func keys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
