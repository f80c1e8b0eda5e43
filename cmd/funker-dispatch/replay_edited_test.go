package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestEventsReplay_EditedIsANewEvent(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	for name, args := range map[string]func(...string) []string{
		"over NATS": func(args ...string) []string { return w.args(args) },
		"over HTTP": func(args ...string) []string { return w.far(args...) },
	} {
		id := w.die("Saw")
		file := filepath.Join(t.TempDir(), "mended.json")
		if err := os.WriteFile(file, []byte(`{"mended":true}`), 0o600); err != nil {
			t.Fatal(err)
		}
		show := func(id string) string {
			return strings.Join(strings.Fields(mustCLI(t, args("events", "show", id)...)), " ")
		}
		var r queue.Replayed
		if err := json.Unmarshal([]byte(mustCLI(t, args("events", "replay", id, "--edited", "@"+file, "--to", "File", "-o", "json")...)), &r); err != nil {
			t.Fatal(err)
		}
		if r.ID == id || !r.Edited || r.To != "File" {
			t.Errorf("%s: got %+v", name, r)
		}
		within(t, "it has run", func() bool { return w.ran("File", `{"mended":true}`) > 0 })
		within(t, "it has ended", func() bool { return strings.Contains(show(r.ID), "outcome ok") })
		if got := show(r.ID); !strings.Contains(got, "replay of "+r.From+", edited") {
			t.Errorf("%s: %s", name, got)
		}
		if got := show(id); !strings.Contains(got, "outcome replaced") || !strings.Contains(got, "replaced by "+r.As) {
			t.Errorf("%s: the original: %s", name, got)
		}
		if code, _, stderr := cli(t, args("events", "replay", id, "-d", `{"mended":`)...); code != exitFailed || !strings.Contains(stderr, "is JSON, and the new one is not") {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
		if code, _, stderr := cli(t, args("events", "replay", id, id, "-d", "{}")...); code != exitUsage || !strings.Contains(stderr, "for one event") {
			t.Errorf("%s: of two: exit code %d: %s", name, code, stderr)
		}
		if code, _, stderr := cli(t, args("events", "replay", id, "-d", "{}", "--dry-run")...); code != exitUsage || !strings.Contains(stderr, "without --dry-run") {
			t.Errorf("%s: dry run: exit code %d: %s", name, code, stderr)
		}
		if got := mustCLI(t, args("dead", "list")...); strings.Contains(got, id) {
			t.Errorf("%s: the dead letter is still there: %s", name, got)
		}
	}
}
