package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestCrash_ABenchThatWasKilledIsCheckedByTheNext(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bench")
	p := newProcess(t, "bench", "", "bench", "--keep", dir, "--rounds", "100", "--time", "100ms")
	p.start()
	accepted := 0
	within(t, "pushes are accepted", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, journalFile))
		accepted = strings.Count(string(text), "\n")
		return err == nil && accepted > 100
	})
	p.kill()
	code, _, stderr := cli(t, "bench", "--keep", dir, "--rounds", "1", "--time", "50ms")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	got := regexp.MustCompile(`(\d+) accepted, (\d+) ended, 0 lost; drift of the store: 0\.`).FindStringSubmatch(stderr)
	if got == nil || got[1] != got[2] {
		t.Fatalf("got %q", stderr)
	}
	if n, err := strconv.Atoi(got[1]); err != nil || n < accepted {
		t.Errorf("%s were accepted, want at least %d", got[1], accepted)
	}
	if code, _, stderr := cli(t, "bench", "--keep", dir, "--rounds", "1", "--time", "50ms"); code != exitOK || strings.Contains(stderr, "killed") {
		t.Errorf("after a run that ended: exit code %d, %q", code, stderr)
	}
	for _, name := range []string{"raw", "bare"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > 0 {
			t.Errorf("%s has grown over the run: %v, %v", name, info, err)
		}
	}
}
