package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// size is a flag: a number of bytes, with or without a unit.
type size int64

// units of sizes, the longest first, so that a suffix is not taken for a shorter one.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1}}

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *size) Type() string { return "size" }

// Set implements pflag.Value.
func (s *size) Set(text string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err == nil && n > 0 && n <= math.MaxInt64/u.bytes {
			*s = size(n * u.bytes)
			return nil
		}
		break
	}
	return errors.New("write a number of bytes, or one with KiB, MiB, GiB or TiB, such as 4GiB")
}
