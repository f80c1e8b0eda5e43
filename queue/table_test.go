package queue

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTable_IsAMapOfWhatIsStored compares a table with a map, over chunks, holes and trims.
func TestTable_IsAMapOfWhatIsStored(t *testing.T) {
	setRapid(t, "rapid.checks", "20")
	setRapid(t, "rapid.steps", "15")
	rapid.Check(t, func(t *rapid.T) {
		var table table[int]
		want, kept := map[uint64]int{}, map[uint64]int{}
		next := rapid.Uint64Range(1, 3*chunkLen).Draw(t, "start")
		table.trim(next, nil)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, chunkLen).Draw(t, "messages") {
					*table.add(next, next), want[next] = int(next), int(next)
					next++
				}
			},
			"hole": func(t *rapid.T) { next += rapid.Uint64Range(0, 3*chunkLen).Draw(t, "hole") },
			"trim": func(t *rapid.T) {
				first := rapid.Uint64Range(table.first, next).Draw(t, "first")
				table.trim(first, func(seq uint64, _ *int) bool { return seq%5 == 0 })
				for seq := range want {
					if seq < first {
						if delete(want, seq); seq%5 == 0 {
							kept[seq] = int(seq)
						}
					}
				}
			},
			"": func(t *rapid.T) {
				for seq := range want {
					if v := table.at(seq); v == nil || *v != int(seq) {
						t.Fatalf("at %d: got %v", seq, v)
					}
				}
				for seq := range kept {
					if v := table.at(seq); v == nil || *v != int(seq) {
						t.Fatalf("kept at %d: got %v", seq, v)
					}
				}
				if v := table.at(next); v != nil {
					t.Fatalf("at %d: got %d", next, *v)
				}
				order := slices.Sorted(maps.Keys(want))
				from := rapid.Uint64Range(0, next).Draw(t, "from")
				i, _ := slices.BinarySearch(order, from)
				if got := seqs(table.all(from, everything)); !slices.Equal(got, order[i:]) {
					t.Fatalf("all from %d: got %d, want %d", from, len(got), len(order)-i)
				}
				keys := span{from, from + chunkLen}
				touched := seqs(table.all(0, keys))
				for _, seq := range order {
					if _, found := slices.BinarySearch(touched, seq); !found && seq >= keys.low && seq <= keys.high {
						t.Fatalf("key %d is passed over", seq)
					}
				}
				slices.Reverse(order)
				if got := seqs(table.back(noEnd, everything)); !slices.Equal(got, order) {
					t.Fatalf("back: got %d, want %d", len(got), len(order))
				}
			},
		})
	})
}

func seqs(all func(func(uint64, *int) bool)) (found []uint64) {
	for seq := range all {
		found = append(found, seq)
	}
	return found
}

func TestSeq48_HoldsAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if n := rapid.Uint64Range(0, 1<<48-1).Draw(t, "n"); pack(n).get() != n {
			t.Errorf("%d became %d", n, pack(n).get())
		}
	})
}

func TestRef_ComesBackAsItWent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRef(rapid.Custom(func(t *rapid.T) shelf { return shelf(rapid.IntRange(1, int(shelves)-1).Draw(t, "shelf")) }).Draw(t, "stream"),
			rapid.Uint64Range(1, 1<<seqBits-1).Draw(t, "seq"))
		if got := parseRef(r.String()); got != r {
			t.Errorf("%s became %s", r, got)
		}
	})
	for _, odd := range []string{"", "FUNKER_EVENTS", "FUNKER_EVENTS/", "FUNKER_EVENTS/0", "FUNKER_EVENTS/-1", "FUNKER_EVENTS/72057594037927936", "OTHER/1", "/1"} {
		if r := parseRef(odd); r != 0 {
			t.Errorf("%q became %s", odd, r)
		}
	}
}
