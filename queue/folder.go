package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrForeign means that a folder holds something else than the data of this program.
var ErrForeign = errors.New("this is not a data folder")

const (
	layout     = 1 // of the data folder; changes when an older program could no longer read it
	formatFile = "format"
	lockFile   = "lock"
	streamsDir = "jetstream"
)

// ours are the names that a data folder may have before its format is written down: those that the program makes, and
// the one that a new file system has. A file that is not written to its end has ".new" behind its name.
var ours = []string{lockFile, AdminKey, WorkerKey, "admin.token", "read.token", streamsDir, formatFile, clusterFile, outsideFile, "lost+found"}

// checkFolder refuses a folder that another program uses, or that a later version of this one has changed. Folders
// from before the format was written down are recognised by what they hold.
func checkFolder(dir string) error {
	switch data, err := os.ReadFile(filepath.Join(dir, formatFile)); {
	case err == nil:
		return checkFormat(dir, strings.TrimSpace(string(data)))
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read data folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	var names, foreign []string
	for _, e := range entries {
		if names = append(names, e.Name()); !slices.Contains(ours, strings.TrimSuffix(e.Name(), ".new")) {
			foreign = append(foreign, e.Name())
		}
	}
	made := slices.Contains(names, lockFile) && slices.Contains(names, AdminKey) && slices.Contains(names, streamsDir)
	if len(foreign) == 0 || made {
		return nil
	}
	if len(foreign) > 3 {
		foreign = append(foreign[:3], fmt.Sprintf("%d more", len(foreign)-3))
	}
	return fmt.Errorf("%w: %s has %s; choose an empty folder, or one that does not exist", ErrForeign, dir, strings.Join(foreign, ", "))
}

func checkFormat(dir, text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 1:
		return fmt.Errorf("%w: file %s of %s says %q, and not the number of a layout", ErrForeign, formatFile, dir, shorten(text, 20))
	case n > layout:
		return fmt.Errorf("data folder %s has layout %d, and this program knows layouts up to %d: run the newer program that made it", dir, n, layout)
	}
	return nil
}

// writeFormat says which layout the folder has, unless it says so already.
func writeFormat(dir string) error {
	file := filepath.Join(dir, formatFile)
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := WriteFile(file, strconv.Itoa(layout)+"\n"); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	syncAbove(dir, syncPath)
	return nil
}

// KeepFile is WriteFile for a file of the data folder which may be there already as it should be.
func KeepFile(dir, name, text string) error {
	file := filepath.Join(dir, name)
	if have, err := os.ReadFile(file); err == nil && string(have) == text {
		return nil
	}
	return WriteFile(file, text)
}

// WriteFile makes or replaces a small file of the data folder, for its owner only. The file is on disk when it returns
// without an error, and whatever happens meanwhile, a power cut too, there is never a part of it.
func WriteFile(file, text string) error {
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return syncPath(filepath.Dir(file))
}
