package queue

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

func TestToken_EscapesWhatIsNoSubjectToken(t *testing.T) {
	for name, want := range map[string]string{
		"HelloIntent": "HelloIntent", "AMAZON.HelpIntent": "AMAZON=2EHelpIntent", "my fn.v2": "my=20fn=2Ev2",
		"ünï": "=C3=BCn=C3=AF", "a*b>c": "a=2Ab=3Ec", "=": "=3D",
	} {
		got, err := Token(name)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 200), "a\nb", "\xff"} {
		if got, err := Token(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %q, %v; want ErrName", name, got, err)
		}
	}
}

func TestToken_IsReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 20, 60).Draw(t, "name")
		token, err := Token(name)
		if err != nil {
			return
		}
		if strings.ContainsAny(token, ".*> \t\r\n") {
			t.Errorf("%q is no token: %q", name, token)
		}
		if got := untoken(token); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	})
}

// wire sends a message through the form in which NATS stores it.
func wire(t testing.TB, m *nats.Msg) *nats.Msg {
	t.Helper()
	got := nats.NewMsg(m.Subject)
	got.Data = m.Data
	for k, v := range m.Header {
		if strings.ContainsAny(k+strings.Join(v, ""), "\r\n") {
			t.Fatalf("header %q: %q would break the message", k, v)
		}
		got.Header[k] = v
	}
	return got
}

func TestEvent_ComesBackAsItWent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := &Event{
			ID: NewID(), Source: "github-acme", Function: "CommitFetch", ContentType: "application/json", Attempt: rapid.IntRange(0, 9).Draw(rt, "attempt"),
			Header: map[string]string{"X-Github-Event": rapid.StringMatching(`[ -~]{0,40}`).Draw(rt, "event")},
			Body:   rapid.SliceOf(rapid.Byte()).Draw(rt, "body"),
		}
		if rapid.Bool().Draw(rt, "call") {
			e.Deadline = time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "s"), rapid.Int64Range(0, 999999999).Draw(rt, "ns")).UTC()
		}
		got, err := decode(wire(t, encode(e, "funker.event.a.b")))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != e.ID || got.Source != e.Source || got.Function != e.Function || got.Attempt != e.Attempt || !got.Deadline.Equal(e.Deadline) ||
			!bytes.Equal(got.Body, e.Body) || !maps.Equal(got.Header, e.Header) {
			t.Errorf("got %+v, want %+v", got, e)
		}
	})
}

func TestEvent_HeadersOfTheSenderCannotForgeOurs(t *testing.T) {
	e := &Event{ID: NewID(), Source: "s", Function: "f", Header: map[string]string{
		"Funker-Event-Id": "forged", "Nats-Rollup": "all", "Content-Type": "x", "X-Split": "a\r\nNats-Rollup: all", "X-Fine": "yes",
	}}
	m := encode(e, "funker.event.s.f")
	if m.Header.Get(headerID) != e.ID || m.Header.Get("Nats-Rollup") != "" || m.Header.Get(headerType) != "" || m.Header.Get("X-Split") != "" {
		t.Errorf("got %v", m.Header)
	}
	if m.Header.Get("X-Fine") != "yes" {
		t.Errorf("a plain header is lost: %v", m.Header)
	}
}

func TestEvent_AChangedBodyIsCorrupt(t *testing.T) {
	m := encode(&Event{ID: NewID(), Source: "s", Function: "f", Body: []byte(`{"a":1}`)}, "funker.event.s.f")
	m.Data = []byte(`{"a":2}`)
	if _, err := decode(m); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestMessageID_IsShortAndOfAllThatTellsAnEventApart(t *testing.T) {
	ids := map[string]Event{}
	for _, e := range []Event{
		{Source: "s", Function: "f", DeliveryID: "1"}, {Source: "s", Function: "f", DeliveryID: "2"},
		{Source: "s", Function: "g", DeliveryID: "1"}, {Source: "t", Function: "f", DeliveryID: "1"},
		{Source: "s.1", Function: "f", DeliveryID: "2"}, {Source: "s", Function: "f", DeliveryID: "1.2"},
		{Source: "s", Function: "f", ID: NewID()}, {Source: "s", Function: "f", DeliveryID: strings.Repeat("\r\n", 5000)},
	} {
		id := messageID(&e)
		if other, ok := ids[id]; ok || len(id) != 22 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%+v: got %q, as for %+v", e, id, other)
		}
		ids[id] = e
		e.Body, e.Header = []byte("again"), map[string]string{"X": "y"}
		if again := messageID(&e); again != id {
			t.Errorf("of the same delivery: %q, then %q", id, again)
		}
	}
}

// FuzzDecode reads messages as anybody with the admin key may write them.
func FuzzDecode(f *testing.F) {
	f.Add("2026-11-23T08:41:25.143266276Z", "3", "", []byte(`{"a":1}`))
	f.Add("yesterday", "-1", "00", []byte(nil))
	f.Fuzz(func(t *testing.T, deadline, attempt, sum string, body []byte) {
		e, err := decode(&nats.Msg{Data: body, Header: nats.Header{
			headerDeadline: {deadline}, headerAttempt: {attempt}, headerSum: {sum}, headerID: {"x"},
		}})
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v", err)
		}
		if err == nil && !bytes.Equal(e.Body, body) {
			t.Error("body changed")
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	e := &Event{ID: NewID(), Source: "github-acme", Function: "CommitFetch", ContentType: "application/json", Body: bytes.Repeat([]byte("x"), 1024)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(encode(e, "funker.event.a.b")); err != nil {
			b.Fatal(err)
		}
	}
}
