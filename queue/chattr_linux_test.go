package queue

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func hasSyncFlag(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		t.Fatal(err)
	}
	return flags&syncFlag != 0
}

func TestSyncer_TheKernelSyncsWhatTheServerWritesAnew(t *testing.T) {
	if err := setSyncFlag(t.TempDir(), true); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must have a file system with flags: %v", err)
		}
		t.Skipf("NOT TESTED: %v", err)
	}
	dir := t.TempDir()
	q := openIn(t, dir, "F")
	stream := smallBlocks(t, q, "S", "s")
	s, _ := syncsOf(t, dir)
	folder := filepath.Join(serverFolder(dir), "S")
	check := func(want map[string]bool) {
		t.Helper()
		for name, want := range want {
			if got := hasSyncFlag(t, filepath.Join(folder, name)); got != want {
				t.Errorf("%s: flag is %v", name, got)
			}
		}
	}
	for range 40 {
		publishRaw(t, q, "s", make([]byte, 1000))
	}
	mustWait(t, s)
	check(map[string]bool{".": true, "msgs": true, "obs": false, "msgs/1.blk": false, "msgs/2.blk": false})
	if err := stream.SecureDeleteMsg(t.Context(), 3); err != nil { // writes the block anew, as a compaction does
		t.Fatal(err)
	}
	mustWait(t, s)
	check(map[string]bool{"msgs/1.blk": true, "msgs/2.blk": false})
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	publishRaw(t, q, "s", nil)
	mustWait(t, s)
	check(map[string]bool{"msgs": true, "msgs/3.blk": false})
	folder = filepath.Join(serverFolder(dir), streamLog)
	check(map[string]bool{".": false, "msgs": false, "msgs/1.blk": false})
}
