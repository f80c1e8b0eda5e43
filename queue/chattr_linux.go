package queue

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncFlag is what chattr(1) calls S: the kernel syncs every write. What is made in a folder with it has it too.
const syncFlag = 0x8 // FS_SYNC_FL

// setSyncFlag fails on a file system that knows no flags.
func setSyncFlag(path string, on bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("read flags of %s: %w", path, err)
	}
	want := flags &^ syncFlag
	if on {
		want |= syncFlag
	}
	if want == flags {
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(want)); err != nil {
		return fmt.Errorf("set flags of %s: %w", path, err)
	}
	return nil
}
