package deploy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// maxSecret is far above any key that a person or a tool makes.
const maxSecret = 64 << 10

const hidden = "[secret]"

// Secret is a key that does not show itself: every way of printing, logging or
// encoding it gives "[secret]". Convert it to []byte or string to use it.
type Secret []byte

// String implements fmt.Stringer.
func (Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return hidden }

// Format implements fmt.Formatter: %d and its like would print the bytes.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// readSecret reads a secret file without the line end that editors and echo
// put behind the last line. Its errors say what to do; the caller names the file.
func readSecret(file string) (Secret, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, secretError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file: name the file that holds the secret")
	}
	if info.Size() > maxSecret {
		return nil, fmt.Errorf("is larger than %d KiB: name the file that holds only the secret", maxSecret>>10)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, secretError(err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if strings.TrimSpace(secret) == "" {
		return nil, errors.New("is empty: write the secret into it")
	}
	return Secret(secret), nil
}

func secretError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist: create it or correct the path")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("cannot be read: give this user the permission")
	}
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return fmt.Errorf("cannot be read (%w): check the path", err)
}
