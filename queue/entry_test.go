package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

func TestReadEntry_ReadsWhatTheQueueWrites(t *testing.T) {
	var n names
	e := &Event{
		ID: NewID(), Source: "github-acme", Function: "my fn.v2", RunID: NewID(), Attempt: 2, Body: []byte("1"),
		Header: map[string]string{"X-Funker-Root": "FUNKER_EVENTS/9", "X-Long": strings.Repeat("Funker-Root: FUNKER_EVENTS/9 ", 50)},
		Root:   "FUNKER_RETRY/7", ReplayOf: "FUNKER_EVENTS/42",
	}
	read := func(at ref, subject string, header []byte) entry {
		got := n.readEntry(at, 1_000_000, []byte(subject), header)
		if key, made := keyOf([]byte(e.ID), 0); got.key != key || got.made != made {
			t.Errorf("%s: id is %x", at, got.key)
		}
		return got
	}
	m := retryMessage(e, time.Now(), "")
	if got := read(newRef(shelfRetry, 8), m.Subject, block(m.Header)); got.kind != entrySchedule || n.token(got.function) != "my=20fn=2Ev2" ||
		got.root.String() != e.Root || got.of().String() != e.ReplayOf {
		t.Errorf("schedule: got %+v", got)
	}
	if got := read(newRef(shelfRetry, 9), redoSubject("f"), block(m.Header)); got.kind != entryDue || n.token(got.function) != "f" {
		t.Errorf("due: got %+v", got)
	}
	m = deadLetter(e, ReasonRefused)
	m.Header[headerMsgSize] = []string{"70000"}
	if got := read(newRef(shelfDead, 3), m.Subject, block(m.Header)); got.kind != entryLetter || n.token(got.reason) != "refused" ||
		n.token(got.source) != "github-acme" || n.token(got.function) != "my=20fn=2Ev2" || got.size != 70000 {
		t.Errorf("dead letter: got %+v", got)
	}
	e.Root = ""
	m = encode(e, redoSubject("f"))
	if got := read(newRef(shelfRetry, 7), m.Subject, block(m.Header)); got.kind != entryReplay || got.root != 0 || got.of().String() != e.ReplayOf {
		t.Errorf("replay: got %+v", got)
	}
	m.Header[headerOutcome] = []string{"dropped"}
	if got := read(newRef(shelfLog, 1), logSubject("a", "b"), block(m.Header)); got.kind != entryLine || got.outcome != runDropped {
		t.Errorf("line: got %+v", got)
	}
}

func TestKeyOf_KeepsTheTimeAndTellsIdsApart(t *testing.T) {
	seen := map[uint64]string{}
	for range 10_000 {
		id := NewID()
		key, made := keyOf([]byte(id), 0)
		if other := seen[key]; other != "" {
			t.Logf("%s and %s have one key", other, id) // possible, but far from usual
		}
		seen[key] = id
		if keyMade(key) != made || made != int64(ulid.MustParse(id).Time()) {
			t.Fatalf("%s: got %d", id, made)
		}
	}
	if len(seen) < 9_990 {
		t.Errorf("%d keys of 10000 ids", len(seen))
	}
	if key, made := keyOf([]byte("by hand"), 77); made != 77 || keyMade(key) != 77 {
		t.Errorf("got %d, %d", key, made)
	}
}

func TestNames_AreBounded(t *testing.T) {
	var n names
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "token")
		if i := n.number([]byte(token)); n.token(i) != token || n.number([]byte(token)) != i {
			t.Errorf("%q became %q", token, n.token(i))
		}
	})
	for i := range 2 * maxNames {
		n.number([]byte{byte(i), byte(i >> 8), byte(i >> 16), 'x'})
	}
	if len(n.tokens) > maxNames || n.number([]byte("one too many")) != 0 || n.token(0) != "" {
		t.Errorf("%d names", len(n.tokens))
	}
}

// FuzzReadEntry reads messages as anybody with the admin key may write them.
func FuzzReadEntry(f *testing.F) {
	f.Add("funker.event.a.b", "NATS/1.0\r\nFunker-Event-Id: 01M84TMGFDV2P92TFN0SB1C787\r\nFunker-Root: FUNKER_EVENTS/1\r\n\r\n", uint8(1))
	f.Add("funker.redo.b", "NATS/1.0\r\nFunker-Replay-Of:FUNKER_EVENTS/99999999999999999999\r\nFunker-", uint8(3))
	f.Add("funker.log", ":\n\n\nFunker-Outcome:ok\n", uint8(5))
	f.Add("", "", uint8(0))
	f.Fuzz(func(t *testing.T, subject, header string, shelf uint8) {
		var l ledger
		for seq := range uint64(3) {
			e := l.readEntry(newRef(shelfOf(shelfStreams[shelf%uint8(shelves)]), seq+1), 1, []byte(subject), []byte(header))
			l.note(&e, 2)
		}
		l.noteLate(3)
	})
}
