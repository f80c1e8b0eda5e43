package deploy

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Limits of what a task may take. The lower ones are those of Docker, below which it starts nothing.
const (
	minCPUs   = 0.001
	maxCPUs   = 1024
	minMemory = 6 << 20
	maxMemory = 16 << 40

	maxLabel = 255 // bytes of a key
)

// reservedLabels are what the names of labels begin with that somebody else gives.
var reservedLabels = []string{"funker.", "com.docker."}

func (r *manifestReader) labels(n ast.Node) map[string]string {
	return r.pairs(n, "labels", func(key string) string {
		for _, prefix := range reservedLabels {
			if strings.HasPrefix(key, prefix) {
				return "begins with " + prefix + ", which is taken: choose another name"
			}
		}
		switch {
		case !printable(key):
			return "has blanks or control characters: remove them"
		case len(key) > maxLabel:
			return "is longer than " + strconv.Itoa(maxLabel) + " bytes: shorten it"
		}
		return ""
	})
}

func (r *manifestReader) resources(n ast.Node) Resources {
	var limits Resources
	r.object(n, "resources", fields{
		"cpus":   func(n ast.Node) { limits.NanoCPUs = r.cpus(n) },
		"memory": func(n ast.Node) { limits.Memory = r.memory(n) },
	})
	return limits
}

func (r *report) cpus(n ast.Node) int64 {
	s, ok := r.text(n, "cpus")
	if !ok {
		return 0
	}
	switch cpus, err := strconv.ParseFloat(s, 64); {
	case err != nil:
		r.fault(at(n), "cpus %q is not a number: write how many CPUs, such as 0.5 or 2", s)
	case !(cpus >= minCPUs && cpus <= maxCPUs): // not a number, too
		r.fault(at(n), "cpus is %s: write a number from %v to %v", s, minCPUs, maxCPUs)
	default:
		return int64(math.Round(cpus * 1e9))
	}
	return 0
}

var (
	memoryText  = regexp.MustCompile(`^([0-9]+)(KiB|MiB|GiB|TiB)$`)
	memoryUnits = map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
)

func (r *report) memory(n ast.Node) int64 {
	s, ok := r.text(n, "memory")
	if !ok {
		return 0
	}
	parts := memoryText.FindStringSubmatch(s)
	if parts == nil {
		r.fault(at(n), "memory %q is not a size: write a whole number and KiB, MiB, GiB or TiB, such as 128MiB", s)
		return 0
	}
	unit := memoryUnits[parts[2]]
	count, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || count > maxMemory/unit || count*unit < minMemory {
		r.fault(at(n), "memory is %s: write a size from %dMiB to %dTiB", s, minMemory>>20, int64(maxMemory)>>40)
		return 0
	}
	return count * unit
}

// input reads the members of the payload that a function gets. None of them is a choice too: then it gets {}.
func (r *manifestReader) input(n ast.Node) []string {
	return append([]string{}, r.texts(n, "input", "[session, request]", func(s string) (string, error) {
		if len(s) > maxLabel {
			return "", errors.New("is longer than any name of a member: shorten it")
		}
		return s, nil
	})...)
}
