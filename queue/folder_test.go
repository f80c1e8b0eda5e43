package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestFolder_OnlyAFolderOfOursIsOpened(t *testing.T) {
	for name, c := range map[string]struct {
		holds map[string]string // a name that ends with / is a folder
		says  string            // "" when it is opened
	}{
		"empty":                    {},
		"new file system":          {holds: map[string]string{"lost+found/": ""}},
		"first start cut short":    {holds: map[string]string{"lock": "1\n", "format.new": ""}},
		"killed in its first key":  {holds: map[string]string{"lock": "1\n", "admin.nk.new": "SU"}},
		"not all of ours":          {holds: map[string]string{"lock": "1\n", "jetstream/": "", "admin.token": "x\n", "notes.txt": "mine"}, says: "notes.txt"},
		"somebody else's":          {holds: map[string]string{"index.html": "x", "css/": "", "js/": "", "img/": "", "a": ""}, says: "2 more"},
		"of a newer program":       {holds: map[string]string{"format": "2\n"}, says: "layout 2"},
		"with another format file": {holds: map[string]string{"format": "ext4\n"}, says: `"ext4"`},
		"with an empty format":     {holds: map[string]string{"format": ""}, says: `""`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.holds {
				path := filepath.Join(dir, file)
				write := func() error { return os.WriteFile(path, []byte(text), 0o600) }
				if strings.HasSuffix(file, "/") {
					write = func() error { return os.Mkdir(path, 0o700) }
				}
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
			if err == nil {
				err = q.Close()
			}
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if text, err := os.ReadFile(filepath.Join(dir, formatFile)); err != nil || string(text) != "1\n" {
					t.Errorf("format is %q, %v", text, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(c.holds) {
				t.Errorf("something was written into a folder of somebody else: %v, %v", entries, err)
			}
		})
	}
}

func TestFolder_OneOfNobodyIsNoErrLocked(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)}); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
}

// asBefore makes a data folder as the program did before there were retries and dead letters, with n events of function
// Old, the first of which has run.
func asBefore(t *testing.T, dir string, n int) {
	t.Helper()
	s, key, err := startServer(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(s.stop(func() error { return nil }), os.Remove(filepath.Join(dir, formatFile))); err != nil {
			t.Fatal(err)
		}
	}()
	auth, err := withKey(key)
	if err != nil {
		t.Fatal(err)
	}
	q, err := connect(DialOptions{Role: RoleAdmin, Log: testLog(t)}, auth, nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer q.nc.Close()
	wake := func(kind, subject string) *jetstream.RePublish {
		return &jetstream.RePublish{Source: subject, Destination: "funker.wake." + kind, HeadersOnly: true}
	}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: streamEvents, Subjects: []string{"funker.event.*.*"}, MaxAge: eventsMaxAge, MaxBytes: 4 << 30, Discard: jetstream.DiscardNew,
			Duplicates: duplicateWindow, AllowDirect: true, AllowAtomicPublish: true, RePublish: wake("events.{{wildcard(2)}}", "funker.event.*.*")},
		{Name: streamCalls, Subjects: []string{"funker.call.*.*", "funker.called.*.*"}, MaxAge: callsMaxAge, MaxBytes: 256 << 20,
			AllowDirect: true, PersistMode: jetstream.AsyncPersistMode},
		{Name: streamRetry, Subjects: []string{"funker.redo.*", "funker.retry.*.*"}, MaxAge: retryMaxAge, Duplicates: duplicateWindow,
			AllowDirect: true, AllowMsgSchedules: true, RePublish: wake("redo.{{wildcard(1)}}", "funker.redo.*")},
		{Name: streamLog, Subjects: []string{"funker.log.*.*"}, MaxAge: logMaxAge, MaxBytes: 256 << 20, AllowDirect: true, PersistMode: jetstream.AsyncPersistMode},
	} {
		if _, err := q.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	for stream, filter := range map[string]string{streamCalls: callSubject("*", "Old"), streamRetry: redoSubject("Old"), streamEvents: eventSubject("*", "Old")} {
		if _, err := q.js.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{
			Durable: consumerName("Old"), FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 1000, MaxWaiting: 8192,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		m := encode(&Event{ID: NewID(), Source: "s", Function: "Old", Body: fmt.Append(nil, i)}, eventSubject("s", "Old"))
		if _, err := q.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	m, err := q.nc.Request(pullSubject(q.prefix, streamEvents, consumerName("Old")), []byte(`{"batch":1,"expires":1000000000}`), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.nc.Request(m.Reply, ackPlain, time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestFolder_OneOfTheProgramWithoutRetriesGoesOn(t *testing.T) {
	dir := t.TempDir()
	asBefore(t, dir, 3)
	q := openIn(t, dir, "Old")
	ran := make(chan string, 10)
	work(t, q, "Old", 1, func(e *Event) Result {
		ran <- string(e.Body)
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true}
	})
	settledAll(t, q, "Old")
	close(ran)
	var got []string
	for body := range ran {
		got = append(got, body)
	}
	if fmt.Sprint(got) != "[1 2]" {
		t.Errorf("ran %v", got)
	}
	if dead := stored(t, q, streamDead); len(dead) != 2 {
		t.Errorf("%d dead letters, want 2", len(dead))
	}
	for _, cfg := range streamConfigs(Options{MaxEvents: 4 << 30}) {
		s, err := q.js.Stream(t.Context(), cfg.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().Config; cfg.MaxBytes > 0 && got.MaxBytes != cfg.MaxBytes || got.MaxAge != cfg.MaxAge {
			t.Errorf("%s was not brought up to date: %+v", cfg.Name, got)
		}
	}
	c, err := q.js.Consumer(t.Context(), streamEvents, consumerName("Old"))
	if err != nil || c.CachedInfo().Config.MaxDeliver != maxDeliver {
		t.Errorf("got %+v, %v; want at most %d deliveries", c.CachedInfo().Config, err, maxDeliver)
	}
}

func TestOpen_LeavesTheFilesOfStreamsAndConsumersAloneUnlessTheirSettingsChange(t *testing.T) {
	dir := t.TempDir()
	start := func(o Options) {
		t.Helper()
		o.Dir, o.Log = dir, testLog(t)
		q, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.AddFunction(t.Context(), "F", Retry{}); err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	meta := func() (stream, consumer os.FileInfo) {
		t.Helper()
		for file, info := range map[string]*os.FileInfo{"meta.inf": &stream, "obs/fn-F/meta.inf": &consumer} {
			var err error
			if *info, err = os.Stat(filepath.Join(serverFolder(dir), streamEvents, file)); err != nil {
				t.Fatal(err)
			}
		}
		return stream, consumer
	}
	start(Options{})
	stream, consumer := meta()
	start(Options{})
	if s, c := meta(); !os.SameFile(s, stream) || !os.SameFile(c, consumer) {
		t.Error("a start wrote them anew")
	}
	start(Options{MaxEvents: 64 << 20, AckWait: MinAckWait})
	if s, c := meta(); os.SameFile(s, stream) || os.SameFile(c, consumer) {
		t.Error("a start with other settings did not write them anew")
	}
}
