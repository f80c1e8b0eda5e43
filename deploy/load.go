package deploy

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Load reads a manifest file: functions.yaml in version 2, or services.json in
// version 1.0. Faults come back as a Faults error.
func Load(file string) (*Manifest, error) {
	return LoadWith(file, ServicesOptions{})
}

// LoadWith is Load with what a services.json cannot say itself. The options
// have no effect on a manifest of version 2.
func LoadWith(file string, options ServicesOptions) (*Manifest, error) {
	return load(file, loadOptions{ServicesOptions: options})
}

// LoadFunctions is Load for a worker, which has no use for the triggers and may
// not have their secrets: they are left out, unread.
func LoadFunctions(file string) (*Manifest, error) {
	m, err := load(file, loadOptions{functionsOnly: true})
	if err != nil {
		return nil, err
	}
	m.Triggers = nil
	return m, nil
}

func load(file string, options loadOptions) (*Manifest, error) {
	data, err := readAtMost(file, maxSize+1)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return parse(file, data, filepath.Dir(file), options)
}

// readAtMost returns the first limit bytes of a file, so that a file which is
// too large is not held in memory to be refused.
func readAtMost(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
