package queue

import (
	"strconv"
	"strings"
)

// shelf is one of the streams that the index knows.
type shelf uint8

const (
	shelfEvents shelf = iota + 1
	shelfCalls
	shelfRetry
	shelfDead
	shelfLog
	shelves
)

var shelfStreams = [shelves]string{"", streamEvents, streamCalls, streamRetry, streamDead, streamLog}

func (s shelf) String() string { return shelfStreams[s] }

func shelfOf(stream string) shelf {
	for s, name := range shelfStreams {
		if s > 0 && name == stream {
			return shelf(s) //nolint:gosec // s is below shelves
		}
	}
	return 0
}

// ref names a stored message: its stream in the upper 8 bits, its sequence in the others. Zero names none.
type ref uint64

const seqBits = 56

func newRef(s shelf, seq uint64) ref { return ref(s)<<seqBits | ref(seq) }

func (r ref) shelf() shelf { return shelf(r >> seqBits) } //nolint:gosec // 8 bits
func (r ref) seq() uint64  { return uint64(r) & (1<<seqBits - 1) }

// String writes "FUNKER_EVENTS/42", or "" for none.
func (r ref) String() string {
	if r == 0 {
		return ""
	}
	return r.shelf().String() + "/" + strconv.FormatUint(r.seq(), 10)
}

// parseRef reads what String writes. It returns 0 for anything else.
func parseRef(text string) ref {
	stream, number, ok := strings.Cut(text, "/")
	s := shelfOf(stream)
	seq, err := strconv.ParseUint(number, 10, seqBits)
	if !ok || s == 0 || seq == 0 || err != nil {
		return 0
	}
	return newRef(s, seq)
}
