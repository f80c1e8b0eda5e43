package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// disk is a file system whose power can be cut. It lies in an image, and the kernel is told not to write anything to
// it that nobody has synced. So the image has what a disk would have after a power cut. Killing processes proves
// nothing, because what they wrote stays in the kernel's cache.
type disk struct {
	t     *testing.T
	mount string
	image string
	spare string // for the next image
}

const writeback = "/proc/sys/vm/dirty_writeback_centisecs"

func newDisk(t *testing.T) *disk {
	t.Helper()
	for _, program := range []string{"mkfs.ext4", "mount", "umount", "cp", "sh"} {
		need(t, program)
	}
	before, err := os.ReadFile(writeback)
	if err != nil {
		unable(t, err.Error())
	}
	dir := t.TempDir()
	d := &disk{t: t, mount: filepath.Join(dir, "mnt"), image: filepath.Join(dir, "a.img"), spare: filepath.Join(dir, "b.img")}
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		t.Fatal(err)
	}
	d.guard(strings.TrimSpace(string(before)))
	if err := os.WriteFile(writeback, []byte("0\n"), 0o600); err != nil {
		unable(t, err.Error())
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 256<<20); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", d.image}, d.mounting()} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			unable(t, strings.Join(args, " ")+": "+string(out))
		}
	}
	return d
}

// unable skips a test that this machine cannot do. In CI it fails.
func unable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must be able to do this, as root: %s", reason)
	}
	t.Skipf("NOT TESTED: %s", reason)
}

// mounting mounts the image. The journal's own timer is as good as off.
func (d *disk) mounting() []string {
	return []string{"mount", "-o", "loop,commit=300", d.image, d.mount}
}

// guard puts the machine back into order when the test is over, even if it is killed.
func (d *disk) guard(interval string) {
	d.t.Helper()
	atEnd(d.t, `echo "$2" >"$3"; if mountpoint -q "$1"; then umount "$1" || umount -l "$1"; fi`, d.mount, interval, writeback)
}

// atEnd runs a script when the test is over, even if it is killed: a shell waits for the end of its input.
func atEnd(t *testing.T, script string, args ...string) {
	t.Helper()
	sh := exec.Command("sh", append([]string{"-c", "cat; " + script, "sh"}, args...)...)
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C is not for it
	end, err := sh.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end.Close()
		if err := sh.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	})
}

// smallDisk puts a disk of 64 MiB in the place of a folder.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	atEnd(t, `umount "$1" || umount -l "$1"`, dir)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "small", dir).CombinedOutput(); err != nil {
		unable(t, "mount a small disk: "+string(out))
	}
}

// cut continues with what a power cut would have left. Whoever writes to the disk must have been killed.
func (d *disk) cut() {
	d.t.Helper()
	d.must("cp", "--sparse=always", d.image, d.spare)
	d.must("umount", d.mount)
	d.image, d.spare = d.spare, d.image
	d.must(d.mounting()...)
}

// sync writes everything to the disk.
func (d *disk) sync() {
	d.t.Helper()
	d.must("sync", "-f", d.mount)
}

func (d *disk) must(args ...string) {
	d.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// noise writes to the disk without ever syncing, 64 MB/s, until stop is called.
func (d *disk) noise() (stop func()) {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.mount, "noise"))
	if err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer f.Close()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		chunk := make([]byte, 64<<10)
		for i := int64(0); ; i++ {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			if _, err := f.WriteAt(chunk, i%256<<16); err != nil {
				d.t.Error(err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { close(ended); wg.Wait() })
	d.t.Cleanup(stop)
	return stop
}
