package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// limitOf is a limit within its bounds.
func limitOf(n int) int { return min(cmp.Or(max(n, 0), DefaultLimit), MaxLimit) }

// Next returns the filter of the page behind one that List returned: what is older. It is false when there is none. What
// is stored meanwhile is on none of the pages that follow.
func (f Filter) Next(page []Record) (Filter, bool) {
	if len(page) < limitOf(f.Limit) {
		return Filter{}, false
	}
	ends, err := readEnds(f.Before)
	if err != nil {
		return Filter{}, false
	}
	for _, r := range page {
		at := parseRef(r.Origin)
		ends[at.shelf()] = min(ends[at.shelf()], at.seq())
	}
	f.Before = ends.String()
	return f, true
}

// Next returns the filter of the page behind one that DeadLetters returned, as that of a Filter does.
func (f DeadFilter) Next(page []DeadLetter) (DeadFilter, bool) {
	if len(page) < limitOf(f.Limit) {
		return DeadFilter{}, false
	}
	f.Before = page[len(page)-1].Origin
	return f, true
}

// pageEnds are the sequences before which a page begins, by shelf.
type pageEnds [shelves]uint64

// String writes "FUNKER_EVENTS/42,FUNKER_CALLS/7", without a shelf of which nothing was seen.
func (e pageEnds) String() string {
	var marks []string
	for s, seq := range e {
		if seq != noEnd {
			marks = append(marks, newRef(shelf(s), seq).String()) //nolint:gosec // s is below shelves
		}
	}
	return strings.Join(marks, ",")
}

// readEnds reads what String writes. Shelves that are not named have no end.
func readEnds(text string, known ...shelf) (pageEnds, error) {
	var e pageEnds
	for s := range e {
		e[s] = noEnd
	}
	for mark := range strings.SplitSeq(text, ",") {
		at := parseRef(mark)
		switch {
		case text == "":
		case at == 0, len(known) > 0 && !slices.Contains(known, at.shelf()):
			return e, fmt.Errorf("%w: %q is no end of a page", ErrArgument, shorten(text, 80))
		default:
			e[at.shelf()] = at.seq()
		}
	}
	return e, nil
}

// mergeNewest merges lists, each of them the newest first, up to a limit. What it takes of a list is its beginning, also
// where the times in it are not quite in order: so a page ends at one place of each list.
func mergeNewest(lists [][]finding, limit int) (merged []finding) {
	for len(merged) < limit {
		newest := -1
		for i, list := range lists {
			if len(list) > 0 && (newest < 0 || list[0].made > lists[newest][0].made) {
				newest = i
			}
		}
		if newest < 0 {
			break
		}
		merged = append(merged, lists[newest][0])
		lists[newest] = lists[newest][1:]
	}
	slices.SortStableFunc(merged, func(a, b finding) int { return cmp.Compare(b.made, a.made) })
	return merged
}
