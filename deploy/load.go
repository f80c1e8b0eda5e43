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
	return LoadWith(file, ServicesOptions{}, nil)
}

// LoadWith is Load with what a services.json cannot say itself; these options have no
// effect on a manifest of version 2. secretsOf chooses, by kind and name, the triggers
// whose secret files are read; the others have no secrets. nil: all are read.
func LoadWith(file string, options ServicesOptions, secretsOf func(*Trigger) bool) (*Manifest, error) {
	return load(file, loadOptions{ServicesOptions: options, secretsOf: secretsOf})
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

// LoadWithoutSecrets is Load for one who only looks: the secret files stay
// unread, and the triggers have no secrets.
func LoadWithoutSecrets(file string) (*Manifest, error) {
	return LoadWith(file, ServicesOptions{}, nobody)
}

func load(file string, options loadOptions) (*Manifest, error) {
	data, err := ReadText(file)
	if err != nil {
		return nil, err
	}
	return parse(file, data, filepath.Dir(file), options)
}

// ReadText reads the text of a manifest file. Of a file that is too large it reads only so much that Check says so.
func ReadText(file string) ([]byte, error) {
	data, err := readAtMost(file, MaxSize+1)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return data, nil
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
