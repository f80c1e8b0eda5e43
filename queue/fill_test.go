package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsarchive "github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// admin connects to a gateway as a command does.
func (f *fleet) admin(name string) *Queue {
	f.t.Helper()
	q, err := Dial(f.open[name].URL(), filepath.Join(f.dir, name, AdminKey), RoleAdmin, testLog(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = q.Close() })
	return q
}

func TestFill_KeepsWhatIsAsInTheBackupAndRestoresTheRestAnew(t *testing.T) {
	one := open(t, "Waits")
	for range 20 {
		publish(t, one, "Waits")
	}
	from := backup(t, one)
	f := emptyFleet(t)
	f.hold("a", "b", "c")
	q := f.admin("a")
	ctx := t.Context()
	if _, err := q.Fill(ctx, from, nil); err != nil {
		t.Fatal(err)
	}
	s, err := q.openStream(ctx, streamEvents)
	if err == nil {
		err = s.DeleteMsg(ctx, 3)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Fill(ctx, from, nil); err == nil || !strings.Contains(err.Error(), "are not empty") {
		t.Errorf("gateways that have something else: %v", err)
	}

	id, err := sumFile(filepath.Join(from, manifestFile))
	if err == nil {
		err = q.setNotice(ctx, noticeFilling, id) // as a restore leaves it that is killed
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.FinalBackup(ctx, filepath.Join(t.TempDir(), "last"), nil); err == nil || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("a backup of a part: %v", err)
	}
	restored := map[string]bool{}
	r, err := q.Fill(ctx, from, func(stream string, _, _ uint64) { restored[stream] = true })
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for _, s := range r.Streams {
		if s.Same != s.InBackup || s.Name == streamEvents && s.Same != 20 {
			t.Errorf("got %+v", s)
		}
	}
	if len(restored) != 1 || !restored[streamEvents] {
		t.Errorf("restored again: %v", restored)
	}
	if n, err := q.notice(ctx); n != nil || err != nil {
		t.Errorf("the notice is still there: %+v, %v", n, err)
	}
}

// message is one of an archive.
func message(seq uint64, subject, body string, header nats.Header, at time.Time) *archived {
	m := nats.Msg{Subject: subject, Header: header, Data: []byte(body)}
	text := ""
	if len(header) > 0 {
		text = "NATS/1.0\r\n"
		for k := range m.Header {
			text += k + ": " + m.Header.Get(k) + "\r\n"
		}
		text += "\r\n"
	}
	return &archived{
		header:  &natsarchive.Header{Name: subject, Sequence: seq, Timestamp: at.UnixNano(), HeaderSize: int64(len(text)), PayloadSize: int64(len(body))},
		content: []byte(text + body),
	}
}

func TestCompare_FindsEveryDifferenceAndNoneInWhatTheServerMoves(t *testing.T) {
	now := time.Now()
	retry := nats.Header{headerID: {"e"}, headerFunction: {"F"}, headerAttempt: {"1"}, headerSchedule: {"@at 2026-11-30T00:00:00Z"}}
	due := nats.Header{headerID: {"e"}, headerFunction: {"F"}, headerAttempt: {"1"}}
	plain := func(seq uint64, body string) *archived { return message(seq, "s", body, nil, now) }
	for name, c := range map[string]struct {
		saved, here []*archived
		problem     string
		seq         uint64
	}{
		"the same":            {[]*archived{plain(1, "a"), plain(2, "b")}, []*archived{plain(1, "a"), plain(2, "b")}, "", 0},
		"another body":        {[]*archived{plain(1, "a"), plain(2, "b")}, []*archived{plain(1, "a"), plain(2, "c")}, problemDiffers, 2},
		"another time":        {[]*archived{plain(1, "a")}, []*archived{message(1, "s", "a", nil, now.Add(1))}, problemDiffers, 1},
		"another subject":     {[]*archived{plain(1, "a")}, []*archived{message(1, "t", "a", nil, now)}, problemDiffers, 1},
		"one in the middle":   {[]*archived{plain(1, "a"), plain(2, "b"), plain(3, "c")}, []*archived{plain(1, "a"), plain(3, "c")}, problemAbsent, 2},
		"the last one":        {[]*archived{plain(1, "a"), plain(2, "b")}, []*archived{plain(1, "a")}, problemAbsent, 2},
		"one more":            {[]*archived{plain(1, "a")}, []*archived{plain(1, "a"), plain(2, "b")}, problemExtra, 2},
		"one between":         {[]*archived{plain(1, "a"), plain(3, "c")}, []*archived{plain(1, "a"), plain(2, "b"), plain(3, "c")}, problemExtra, 2},
		"one that is too old": {[]*archived{message(1, "s", "a", nil, now.Add(-2*time.Hour))}, nil, "", 0},
		"a retry is due":      {[]*archived{message(1, "s", "a", retry, now)}, []*archived{message(2, redoSubject("F"), "a", due, now)}, "", 0},
		"a retry is lost":     {[]*archived{message(1, "s", "a", retry, now)}, nil, "1 retries became due, and do not wait at the end", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := comparison{config: jetstream.StreamConfig{MaxAge: time.Hour, Discard: jetstream.DiscardNew}, due: map[string]bool{}}
			if err := got.messages(each(c.saved), each(c.here)); err != nil {
				t.Fatal(err)
			}
			switch {
			case c.problem == "" && len(got.findings) > 0,
				c.problem != "" && (len(got.findings) != 1 || got.findings[0].Problem != c.problem || got.findings[0].First != c.seq):
				t.Errorf("got %+v", got.findings)
			}
			if got.InBackup != uint64(len(c.saved)) {
				t.Errorf("got %d of %d", got.InBackup, len(c.saved))
			}
		})
	}
}

// A backup of a gateway that works may have more of a stream than fits: it is read on while the backup is made.
func TestCompare_WhatHasNoRoomIsNotMissing(t *testing.T) {
	now := time.Now()
	saved := []*archived{message(1, "s", "a", nil, now), message(2, "s", "b", nil, now), message(3, "s", "c", nil, now)}
	full := comparison{config: jetstream.StreamConfig{MaxBytes: 1 << 20, Discard: jetstream.DiscardOld}, ComparedStream: ComparedStream{FirstSeq: 2}, due: map[string]bool{}}
	if err := full.messages(each(saved), each(saved[1:])); err != nil || len(full.findings) > 0 || full.Expired != 1 {
		t.Errorf("a full stream: %+v, %v", full, err)
	}
	full.FirstSeq, full.Expired = 1, 0
	if err := full.messages(each(saved), each(saved[:2])); err != nil || len(full.findings) != 1 || full.Expired != 0 {
		t.Errorf("the last one is missing: %+v, %v", full, err)
	}
}

// One that was cut off while the others were held has to notice when it finds them again.
func TestNotice_EndsAGatewayThatServes(t *testing.T) {
	f := newFleet(t)
	q := f.open["b"]
	if err := f.open["a"].setNotice(t.Context(), noticeMoved, NewID()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-q.Failed():
		if !errors.Is(err, ErrNotServed) {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the gateway goes on")
	}
}

func TestWithFolder_OfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can give a folder away")
	}
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err == nil {
		err = q.Close()
	}
	if err == nil {
		err = os.Chown(serverFolder(dir), 65532, 65532)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = WithFolder(t.Context(), Options{Dir: dir, Log: testLog(t)}, func(context.Context, *Queue) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "run this as user 65532") {
		t.Errorf("got %v", err)
	}
}

func each(all []*archived) func() (*archived, error) {
	return func() (next *archived, err error) {
		if len(all) > 0 {
			next, all = all[0], all[1:]
		}
		return next, nil
	}
}
