package queue

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/funker-dispatch/funker-dispatch/queue/natstest"
)

// openError is what Open says about a server that does not suffice.
func openError(t *testing.T, o Outside) error {
	t.Helper()
	q, err := Open(t.Context(), Options{Dir: filepath.Join(t.TempDir(), "data"), Log: testLog(t), Outside: &o})
	if err == nil {
		t.Fatal("it opens", q.Close())
	}
	return err
}

func mustSay(t *testing.T, err error, texts ...string) {
	t.Helper()
	if !errors.Is(err, ErrOutside) {
		t.Errorf("not ErrOutside: %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
}

func TestOutside_SaysThatThereIsNoJetStream(t *testing.T) {
	s := natstest.Start(t, "")
	mustSay(t, openError(t, Outside{URL: s.URL()}), "there is no JetStream in this account", "--nats-domain")
	s = natstest.Start(t, "jetstream {}\naccounts {A {users: [{user: a, password: b}]}}\n")
	mustSay(t, openError(t, Outside{URL: at("a", "b", s.URL())}), "there is no JetStream in this account")
	s = natstest.Start(t, plainServer)
	mustSay(t, openError(t, Outside{URL: s.URL(), Domain: "elsewhere"}), "there is no JetStream in the domain elsewhere")
}

func TestOutside_SaysWhatTheUserMayNotDo(t *testing.T) {
	for name, c := range map[string]struct {
		without, in string // what of the permissions is missing, and what is there in its place
		want        string
	}{
		"events":          {`"funker.>", "$JS.API.>"`, `"$JS.API.>"`, "publish to funker.probe"},
		"JetStream":       {`"$JS.API.>", `, "", "publish to $JS.API.STREAM.CREATE.FUNKER_EVENTS"},
		"acknowledgement": {`"$JS.ACK.>", `, "", "publish to $JS.ACK.probe"},
		"manifest":        {`"$KV.funker-config.>",`, "", "publish to $KV.funker-config.probe"},
		"bodies":          {`"$O.funker-bodies.>", `, "", "publish to $O.funker-bodies.C.probe"},
		"workers":         {`, "_INBOX_worker.>"`, "", "publish to _INBOX_worker.probe"},
		"service":         {`"$SRV.>", `, "", "subscribe to $SRV.PING"},
		"replies":         {`"funker.>", "_INBOX_dispatch.>", "$SRV.>"`, `"funker.>", "$SRV.>"`, "subscribe to _INBOX_dispatch.>"},
		"leaders":         {`"$SRV.>", "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.*.*"`, `"$SRV.>"`, "subscribe to $JS.EVENT.ADVISORY"},
	} {
		t.Run(name, func(t *testing.T) {
			config := documentedServer(t, 1)
			if !strings.Contains(config, c.without) {
				t.Fatalf("docs/nats.md has no %s", c.without)
			}
			s := natstest.Start(t, strings.Replace(config, c.without, c.in, 1))
			mustSay(t, openError(t, Outside{URL: at("gateway", "choose one", s.URL())}), "the user may not", c.want, "docs/nats.md")
		})
	}
}

func TestOutside_SaysWhatTheAccountLacks(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*jwt.JetStreamLimits)
		want string
	}{
		"disk":      {func(l *jwt.JetStreamLimits) { l.DiskStorage = 100 << 20 }, "the account may store 100 MiB in each replica, and 304 MiB is needed"},
		"streams":   {func(l *jwt.JetStreamLimits) { l.Streams = 7 }, "the account may have 7 streams, and 8 are needed"},
		"consumers": {func(l *jwt.JetStreamLimits) { l.Consumer = 3 }, "the account may have 3 consumers of a stream"},
		"pending":   {func(l *jwt.JetStreamLimits) { l.MaxAckPending = 100 }, "100 messages without acknowledgement, and 1000 are needed"},
		"one":       {func(l *jwt.JetStreamLimits) { l.DiskMaxStreamBytes = 100 << 20 }, "a stream of the account may take 100 MiB, and 128 MiB is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			o := natstest.NewOperator(t)
			a := o.Account("acme", func(a *jwt.AccountClaims) { natstest.Rented(a); c.set(&a.Limits.JetStreamLimits) })
			creds := a.User("gateway")
			s := natstest.Start(t, plainServer+o.Config())
			mustSay(t, openError(t, Outside{URL: s.URL(), CredsFile: creds}), c.want)
		})
	}
}

func TestOutside_SaysThatMessagesAreTooSmall(t *testing.T) {
	s := natstest.Start(t, "max_payload: 512KB\njetstream {}\n")
	mustSay(t, openError(t, Outside{URL: s.URL()}), "its max_payload is 512 KiB, and 1 MiB is needed, better 8 MiB")
}

func TestOutside_LeavesStreamsAloneThatAreNotOurs(t *testing.T) {
	for name, cfg := range map[string]jetstream.StreamConfig{
		"there is a stream FUNKER_LOG that is not of this program": {Name: streamLog, Subjects: []string{"x.>"}},
		"subjects overlap": {Name: "MINE", Subjects: []string{"funker.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, plainServer)
			nc, err := nats.Connect(s.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err == nil {
				_, err = js.CreateStream(t.Context(), cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			mustSay(t, openError(t, Outside{URL: s.URL()}), name, "take another account")
		})
	}
}

func TestOutside_SaysThatThereAreTooFewServers(t *testing.T) {
	s := natstest.Start(t, plainServer)
	mustSay(t, openError(t, Outside{URL: s.URL(), Replicas: 3}), "replicas > 1 not supported", "--nats-replicas")
}

func TestOutside_RefusesOldServers(t *testing.T) {
	for have, want := range map[string]bool{
		"2.15.0": false, "2.15.2": false, "2.16.0-RC.1": false, "3.0.0": false, "v2.15.1": false, "2.14.9": true, "2.9.25": true, "1.4.1": true, "": true, "x": true,
	} {
		if older(have, leastVersion) != want {
			t.Errorf("%s: older is not %t", have, want)
		}
	}
	if checkLevel(leastLevel) != nil || checkLevel(leastLevel-1) == nil {
		t.Error("the level of the API is not checked")
	}
}

func TestOutside_LeavesDataFoldersAloneThatHoldEvents(t *testing.T) {
	s := natstest.Start(t, plainServer)
	embedded, outside := filepath.Join(t.TempDir(), "embedded"), filepath.Join(t.TempDir(), "outside")
	for dir, o := range map[string]*Outside{embedded: nil, outside: {URL: s.URL()}} {
		q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t), Outside: o})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if url, err := OutsideOf(outside); err != nil || url != s.URL() {
		t.Errorf("the folder says %q, %v", url, err)
	}
	if url, err := OutsideOf(embedded); err != nil || url != "" {
		t.Errorf("the folder of an embedded server says %q, %v", url, err)
	}
	_, err := Open(t.Context(), Options{Dir: embedded, Log: testLog(t), Outside: &Outside{URL: s.URL()}})
	if err == nil || !strings.Contains(err.Error(), "choose another folder") {
		t.Errorf("events that nobody would see: %v", err)
	}
	_, err = Open(t.Context(), Options{Dir: outside, Log: testLog(t)})
	if err == nil || !strings.Contains(err.Error(), "start it with --nats-url") {
		t.Errorf("events at another place: %v", err)
	}
	q, err := Open(t.Context(), Options{Dir: outside, Log: testLog(t), Outside: &Outside{URL: s.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, err := Open(t.Context(), Options{Dir: outside, Log: testLog(t), Outside: &Outside{URL: s.URL()}}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second gateway on the folder: %v", err)
	}
}

func TestOutside_RefusesOptionsThatCannotWork(t *testing.T) {
	for want, o := range map[string]Outside{
		"leave one out": {CredsFile: "a", KeyFile: "b"}, "take 1, 3 or 5": {Replicas: 2}, "it is one word": {Domain: "a.b"},
	} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, text := range []string{"nats://a:secret@h:4222", "nats://secret@h:4222", "nats://h:1,tls://a:secret@h:4222", "nats://a:%zzsecret@h"} {
		if got := redact(text); strings.Contains(got, "secret") {
			t.Errorf("%s becomes %s", text, got)
		}
	}
	if err := openError(t, Outside{URL: "nats://me:secret@127.0.0.1:1"}); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestOutside_EventsTakeWhatTheAccountLeaves(t *testing.T) {
	for _, most := range []int64{400 << 20, 1 << 30, 8 << 30, 1 << 40} {
		for _, each := range []bool{false, true} {
			r := quota{most: most, each: each}
			got, err := r.maxEvents(0)
			if err != nil {
				t.Fatalf("%s: %v", formatSize(most), err)
			}
			var sum int64
			for _, cfg := range (&Outside{}).streams(Options{MaxEvents: got}, 1, each) {
				sum += cfg.MaxBytes
			}
			if sum > most || got > eventsMost {
				t.Errorf("%s, each limited %t: events take %s, all streams %s", formatSize(most), each, formatSize(got), formatSize(sum))
			}
			if _, err := r.maxEvents(most); err == nil {
				t.Errorf("%s: all of it for events", formatSize(most))
			}
		}
	}
	if got, err := (quota{most: -1}).maxEvents(0); err != nil || got != eventsMost {
		t.Errorf("without a limit: %d, %v", got, err)
	}
	if got, err := (quota{most: -1}).maxEvents(eventsMost * 2); err != nil || got != eventsMost*2 {
		t.Errorf("without a limit, wanted: %d, %v", got, err)
	}
	o := &outside{replicas: 3}
	flat := &jetstream.AccountInfo{Tier: jetstream.Tier{Store: 30, Limits: jetstream.AccountLimits{MaxStore: 90}}}
	tiered := &jetstream.AccountInfo{Tiers: map[string]jetstream.Tier{"R3": {Store: 10, Limits: jetstream.AccountLimits{MaxStore: 40}}}}
	if got := fmt.Sprint(o.quota(flat).used, o.quota(flat).most, o.quota(tiered).used, o.quota(tiered).most); got != "10 30 10 40" {
		t.Errorf("quotas %s", got)
	}
}

func TestOutside_TakesNothingNewWhileRetriesFillTheirStream(t *testing.T) {
	o := natstest.NewOperator(t)
	creds := o.Account("acme", natstest.Rented).User("gateway")
	s := natstest.Start(t, plainServer+o.Config())
	q := openWith(t, Options{Dir: filepath.Join(t.TempDir(), "data"), MaxEvents: MinEvents, Outside: &Outside{URL: s.URL(), CredsFile: creds}}, "Hello")
	for range 3 {
		if _, err := q.js.PublishMsg(t.Context(), &nats.Msg{Subject: redoSubject("Other"), Data: make([]byte, 7<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	q.house.watchRetries(t.Context())
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Hello"}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	retry, err := q.js.Stream(t.Context(), streamRetry)
	if err == nil {
		err = retry.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	q.house.watchRetries(t.Context())
	publish(t, q, "Hello")
}
