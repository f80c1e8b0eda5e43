package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// maxSecret is far above any key that a person or a tool makes.
const maxSecret = 64 << 10

// readSecret reads a secret file without the line end that editors and echo
// put behind the last line. Its errors say what to do; the caller names the file.
func readSecret(file string) (trigger.Secret, error) {
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
	return trigger.Secret(secret), nil
}

// doubtful says what in a secret its author cannot have meant, "" when there is
// nothing. It may still be right, so it is not taken away.
func doubtful(secret trigger.Secret) string {
	text := string(secret)
	switch {
	case strings.HasPrefix(text, "\ufeff"):
		return "begins with a byte order mark, which counts as a part of the secret: save it as UTF-8 without one"
	case strings.ContainsAny(text, "\r\n"):
		return "has several lines, which are one secret here: leave only the secret in it"
	case strings.TrimSpace(text) != text:
		return "has blanks before or behind the secret, which count as a part of it: remove them"
	}
	return ""
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
