package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// preview is what a dry run prints: the first rows of a table and how many there are of each function, or all as JSON.
type preview[T any] struct {
	w      io.Writer
	json   bool
	table  func(io.Writer, []T) error
	rows   []T
	counts map[string]int // by function
	total  int
}

func (p *preview[T]) add(row T, function string) error {
	if p.json {
		return json.NewEncoder(p.w).Encode(row)
	}
	if len(p.rows) < queue.DefaultLimit {
		p.rows = append(p.rows, row)
	}
	if p.counts == nil {
		p.counts = map[string]int{}
	}
	p.counts[function]++
	p.total++
	return nil
}

// print ends the preview; verb is what would be done.
func (p *preview[T]) print(verb string) error {
	if p.json {
		return nil
	}
	if p.total > 0 {
		if err := p.table(p.w, p.rows); err != nil {
			return err
		}
	}
	if more := p.total - len(p.rows); more > 0 {
		fmt.Fprintf(p.w, "… and %d more\n", more)
	}
	var counts []string
	for _, f := range slices.Sorted(maps.Keys(p.counts)) {
		counts = append(counts, fmt.Sprintf("%s %d", f, p.counts[f]))
	}
	of := ""
	if len(counts) > 1 {
		of = ": " + strings.Join(counts, ", ")
	}
	_, err := fmt.Fprintf(p.w, "%d would be %s%s\n", p.total, verb, of)
	return err
}
