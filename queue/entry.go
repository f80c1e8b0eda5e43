package queue

import (
	"bytes"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

// entry is what the index reads from a message.
type entry struct {
	ref      ref
	made     int64  // of the id, unix milliseconds; when the message was stored if the id is no ULID
	stored   int64  // unix milliseconds
	key      uint64 // of the id, see keyOf
	run      uint64 // likewise, of the id of a replay
	kind     entryKind
	function uint16 // see names
	source   uint16
	root     ref // of the run, when this message is not it
	record   ref // what the run is a replay of
	replaces ref // root of the dead run whose place its event takes, see Event
	outcome  runState
	took     time.Duration // of the attempt that a line is about; 0 when it does not say
	reason   uint16        // see names
	size     int           // of the body
}

// of is the record that the message belongs to, when it says so.
func (e *entry) of() ref {
	for _, r := range [...]ref{e.record, e.root} {
		if s := r.shelf(); s == shelfEvents || s == shelfCalls {
			return r
		}
	}
	return 0
}

type entryKind uint8

const (
	entryRecord   entryKind = iota + 1 // an event or a call that was accepted
	entryReplay                        // the first message of a replay
	entrySchedule                      // a retry that is not due yet
	entryDue                           // a message to run at once: a due retry, or a hand-back
	entryLetter                        // a dead letter
	entryLine                          // a line of the log
)

// names are the tokens of sources, functions and reasons, by small numbers. Number 0 stands for all that are too many.
type names struct {
	numbers map[string]uint16
	tokens  []string
}

const maxNames = 1 << 16

func (n *names) number(token []byte) uint16 {
	if i, ok := n.numbers[string(token)]; ok {
		return i
	}
	if n.numbers == nil {
		n.numbers, n.tokens = map[string]uint16{}, []string{""}
	}
	if len(n.tokens) == maxNames {
		return 0
	}
	i := uint16(len(n.tokens)) //nolint:gosec // below maxNames
	n.numbers[string(token)] = i
	n.tokens = append(n.tokens, string(token))
	return i
}

// token returns the token of a number.
func (n *names) token(i uint16) string {
	if int(i) < len(n.tokens) {
		return n.tokens[i]
	}
	return ""
}

// tagBits is how much of the random part of an id is in its key. Two ids of the same millisecond have one key with a
// probability of one in four millions, so whoever looks up an id reads the message to be sure.
const tagBits = 22

// keyOf makes the key of an id: 42 bits of milliseconds, good until the year 2109, and the last 22 random bits.
func keyOf(id []byte, stored int64) (key uint64, made int64) {
	var u ulid.ULID
	if err := u.UnmarshalText(id); err != nil {
		return uint64(stored) << tagBits, stored //nolint:gosec // a time after 1970
	}
	tag := (uint64(u[13])<<16 | uint64(u[14])<<8 | uint64(u[15])) & (1<<tagBits - 1)
	return u.Time()<<tagBits | tag, int64(u.Time()) //nolint:gosec // 48 bits
}

// alike reports whether two keys may be of one id. One without a tag says nothing: its id is no ULID.
func alike(a, b uint64) bool {
	const tag = 1<<tagBits - 1
	return a == b || a&tag == 0 || b&tag == 0
}

// keyMade is the time in a key, unix milliseconds.
func keyMade(key uint64) int64 { return int64(key >> tagBits) } //nolint:gosec // 42 bits

// keyFrom is the lowest key of a time.
func keyFrom(made int64) uint64 { return uint64(max(made, 0)) << tagBits } //nolint:gosec // not negative

// readEntry reads the subject and the header block of a message.
func (n *names) readEntry(at ref, stored int64, subject, header []byte) entry {
	e := entry{ref: at, stored: stored, made: stored}
	e.readHeader(n, header)
	if e.key == 0 {
		e.key = keyFrom(stored)
	}
	e.readSubject(n, subject)
	return e
}

// readSubject reads funker.<kind>.<source>.<function>, or, in the stream of retries, funker.redo.<function> or
// funker.retry.<function>.<run>.
func (e *entry) readSubject(n *names, subject []byte) {
	_, rest, _ := bytes.Cut(subject, []byte{'.'})
	kind, rest, _ := bytes.Cut(rest, []byte{'.'})
	first, second, _ := bytes.Cut(rest, []byte{'.'})
	switch e.ref.shelf() {
	case shelfRetry:
		e.function = n.number(first)
		switch {
		case string(kind) == "retry":
			e.kind = entrySchedule
		case e.root == 0:
			e.kind = entryReplay
		default:
			e.kind = entryDue
		}
		return
	case shelfEvents, shelfCalls:
		e.kind = entryRecord
	case shelfDead:
		e.kind = entryLetter
	case shelfLog:
		e.kind = entryLine
	}
	e.source, e.function = n.number(first), n.number(second)
}

// readHeader reads the lines of a header block. Headers that we have not written are passed over.
func (e *entry) readHeader(n *names, header []byte) {
	for len(header) > 0 {
		end := bytes.IndexByte(header, '\n')
		if end < 0 {
			return
		}
		line := header[:end]
		header = header[end+1:]
		if len(line) < 8 || line[0] != 'F' && line[0] != 'N' {
			continue
		}
		if colon := bytes.IndexByte(line, ':'); colon > 0 {
			value := bytes.TrimSpace(line[colon+1:])
			switch string(line[:colon]) {
			case headerID:
				e.key, e.made = keyOf(value, e.stored)
			case headerRunID:
				e.run, _ = keyOf(value, 0)
			case headerRoot:
				e.root = parseRef(string(value))
			case headerReplayOf:
				e.record = parseRef(string(value))
			case headerReplaces:
				e.replaces = parseRef(string(value))
			case headerOutcome:
				e.outcome = runStateOf(value)
			case headerDuration:
				e.took, _ = time.ParseDuration(string(value)) // written by us, or 0
			case headerReason:
				e.reason = n.number(value)
			case headerMsgSize:
				e.size = atoi(value)
			}
		}
	}
}

// atoi reads what the server writes; anything else counts as 0.
func atoi(digits []byte) int {
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0
	}
	return n
}
