package queue

import (
	"iter"
	"slices"
)

// chunkLen is how many sequences a chunk of a table spans.
const chunkLen = 4096

// table holds a value for each message of a stream, by sequence. The values lie in chunks: the front goes when the
// stream is trimmed, and long holes cost nothing. The zero value of T stands for no message.
type table[T comparable] struct {
	base   uint64 // number of the first chunk
	chunks []*[chunkLen]T
	keys   []span // of the chunks
	first  uint64 // messages below are gone from the stream
	end    uint64 // up to where the stream was read
	// kept are values of messages that are gone, while something that is still stored depends on them.
	kept map[uint64]*T
}

// span is the range of the keys in a chunk; keys ascend with the sequence, but not strictly.
type span struct{ low, high uint64 }

// add makes room for the value of the next message. It returns nil for a sequence that is gone.
func (t *table[T]) add(seq, key uint64) *T {
	number := seq / chunkLen
	if len(t.chunks) == 0 {
		t.base = number
	}
	if seq < t.first || number < t.base {
		return nil
	}
	for t.base+uint64(len(t.chunks)) <= number {
		t.chunks, t.keys = append(t.chunks, nil), append(t.keys, span{low: ^uint64(0)})
	}
	i := number - t.base
	if t.chunks[i] == nil {
		t.chunks[i] = new([chunkLen]T)
	}
	t.keys[i] = span{min(t.keys[i].low, key), max(t.keys[i].high, key)}
	return &t.chunks[i][seq%chunkLen]
}

// at returns the value of a message, or nil when there is none.
func (t *table[T]) at(seq uint64) *T {
	number := seq / chunkLen
	if seq >= t.first && number >= t.base && number < t.base+uint64(len(t.chunks)) {
		if c := t.chunks[number-t.base]; c != nil && !empty(&c[seq%chunkLen]) {
			return &c[seq%chunkLen]
		}
	}
	return t.kept[seq]
}

func empty[T comparable](v *T) bool {
	var zero T
	return *v == zero
}

// keep makes a value for a message that is gone.
func (t *table[T]) keep(seq uint64, v T) *T {
	if t.kept == nil {
		t.kept = map[uint64]*T{}
	}
	t.kept[seq] = &v
	return &v
}

// trim drops the messages below first. It asks whether the value of each must be kept.
func (t *table[T]) trim(first uint64, keep func(seq uint64, v *T) bool) {
	if first <= t.first {
		return
	}
	for seq, v := range t.all(0, everything) {
		if seq >= first {
			break
		}
		t.drop(seq, v, keep)
	}
	t.first, t.end = first, max(t.end, first)
	n := 0
	for n < len(t.chunks) && (t.base+uint64(n)+1)*chunkLen <= t.first {
		n++
	}
	clear(t.chunks[:n])
	t.chunks, t.keys, t.base = t.chunks[n:], t.keys[n:], t.base+uint64(n)
}

func (t *table[T]) drop(seq uint64, v *T, keep func(seq uint64, v *T) bool) {
	if keep(seq, v) {
		t.keep(seq, *v)
	}
	*v = *new(T)
}

// prune drops messages among others.
func (t *table[T]) prune(gone, keep func(seq uint64, v *T) bool) {
	for i, c := range t.chunks {
		if c == nil {
			continue
		}
		left := false
		for k := range c {
			seq := (t.base+uint64(i))*chunkLen + uint64(k)
			if v := &c[k]; !empty(v) && gone(seq, v) {
				t.drop(seq, v, keep)
			}
			left = left || !empty(&c[k])
		}
		if !left && i < len(t.chunks)-1 {
			t.chunks[i], t.keys[i] = nil, span{low: ^uint64(0)}
		}
	}
}

// everything is the range of all keys.
var everything = span{high: ^uint64(0)}

func (s span) touches(o span) bool { return s.low <= o.high && o.low <= s.high }

// all returns the stored messages from a sequence on whose keys are in a range, the oldest first. A chunk without such a
// key is passed over as a whole; the others may hold other keys as well.
func (t *table[T]) all(from uint64, keys span) iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		skip := max(from/chunkLen, t.base) - t.base
		for i := skip; i < uint64(len(t.chunks)); i++ {
			c, start := t.chunks[i], (t.base+i)*chunkLen
			if c == nil || !t.keys[i].touches(keys) {
				continue
			}
			for k := max(from, start) - start; k < chunkLen; k++ {
				if !empty(&c[k]) && !yield(start+k, &c[k]) {
					return
				}
			}
		}
	}
}

// each returns all messages: those that are stored, the oldest first, and then those that are kept.
func (t *table[T]) each() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for seq, v := range t.all(0, everything) {
			if !yield(seq, v) {
				return
			}
		}
		for seq, v := range t.kept {
			if !yield(seq, v) {
				return
			}
		}
	}
}

// noEnd is behind all sequences.
const noEnd = ^uint64(0)

// back returns those before a sequence, the newest first.
func (t *table[T]) back(before uint64, keys span) iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for i, c := range slices.Backward(t.chunks) {
			start := (t.base + uint64(i)) * chunkLen
			if c == nil || start >= before || !t.keys[i].touches(keys) {
				continue
			}
			for k := min(chunkLen, before-start); k > 0; k-- {
				if !empty(&c[k-1]) && !yield(start+k-1, &c[k-1]) {
					return
				}
			}
		}
	}
}

// seq48 is a sequence number in six bytes: enough for eight hundred years at 10,000 messages a second.
type seq48 [6]byte

func pack(n uint64) seq48 {
	return seq48{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32), byte(n >> 40)}
}

func (s seq48) get() uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40
}
