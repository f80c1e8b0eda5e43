//go:build !linux

package queue

import "errors"

func setSyncFlag(string, bool) error { return errors.ErrUnsupported }
