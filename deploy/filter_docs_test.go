package deploy

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
)

func filterPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/filters.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The examples name senders of all kinds; what stands in them beside the filter is theirs, and tested there.
func TestFilterPage_ExamplesAreFiltersOfTheirKinds(t *testing.T) {
	tested := 0
	for _, block := range strings.Split(filterPage(t), "```yaml\n- ")[1:] {
		block, _, _ = strings.Cut(block, "```")
		r := &report{file: "docs/filters.md"}
		list, ok := r.document([]byte("- " + block)).(*ast.SequenceNode)
		if !ok {
			t.Fatalf("%s: %v", block, r.faults)
		}
		for _, item := range list.Values {
			entries := r.entries(item, "a trigger")
			route := routeReader{kind: entries[0].key}
			readers := route.filters(&manifestReader{report: r})
			for _, e := range entries {
				if read, ok := readers[e.key]; ok {
					read(e.value)
				} else if e.key != entries[0].key && e.key != "secret-file" && e.key != "function" {
					t.Errorf("a %s trigger has no key %s", route.kind, e.key)
				}
			}
			if _, err := NewMatcher(route.kind, route.Filter); err != nil || len(r.faults) > 0 {
				t.Errorf("%s: %v, %v", block, r.faults, err)
			}
			tested++
		}
	}
	if tested < 8 {
		t.Errorf("only %d examples were found", tested)
	}
}

func TestFilterPage_HasTheLimits(t *testing.T) {
	page := filterPage(t)
	for what, limit := range map[string]int{
		"expression": maxExpression, "pattern of `matches`": maxRegex, "pattern in a list": maxPattern,
		"cost of one evaluation": maxCost, "payload that filters look into": MaxFilterPayload,
	} {
		if want := fmt.Sprintf("\n| %s | %d ", what, limit); !strings.Contains(page, want) {
			t.Errorf("docs/filters.md has no %q", want)
		}
	}
}
