package deploy

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Limits of the settings of a function. They keep numbers in a range that is
// meant, and products of them within 32 bits.
const (
	maxConcurrency = 1000
	maxReplicas    = 1000
	maxAttempts    = 100
	maxTimeout     = 24 * time.Hour

	// maxEventAge is far below the age at which a stream drops its messages.
	maxEventAge = 47 * time.Hour
)

// function reads "name: settings"; null means all defaults.
func (r *manifestReader) function(e entry) *Function {
	if err := checkName(e.key); err != nil {
		r.fault(e.at, "function name %s", err)
	}
	f := NewFunction(e.key)
	what := fmt.Sprintf("function %q", shorten(e.key))
	settings := r.entries(e.value, what)
	r.read(settings, what, fields{
		"image":       func(n ast.Node) { f.Image = r.image(n) },
		"addresses":   func(n ast.Node) { f.Addresses = r.texts(n, "addresses", "[127.0.0.1:9999]", parseAddress) },
		"paused":      func(n ast.Node) { f.Paused = r.boolean(n, "paused") },
		"lifecycle":   func(n ast.Node) { f.Lifecycle = r.lifecycle(n) },
		"concurrency": func(n ast.Node) { f.Concurrency = r.integer(n, "concurrency", 1, maxConcurrency) },
		"timeout":     func(n ast.Node) { f.Timeout = r.duration(n, "timeout", maxTimeout) },
		"replicas":    func(n ast.Node) { f.Replicas = r.replicas(n) },
		"retry":       func(n ast.Node) { f.Retry = r.retry(n) },
		"env":         func(n ast.Node) { f.Env = r.env(n) },
		"secrets":     func(n ast.Node) { f.Secrets = r.texts(n, "secrets", "[api-key]", checkSecretName) },
		"configs":     func(n ast.Node) { f.Configs = r.texts(n, "configs", "[settings]", checkConfigName) },
		"labels":      func(n ast.Node) { f.Labels = r.labels(n) },
		"resources":   func(n ast.Node) { f.Resources = r.resources(n) },
		"input":       func(n ast.Node) { f.Input = r.input(n) },
		"payload":     func(n ast.Node) { f.Payload = r.payload(n) },
		"command":     func(n ast.Node) { f.Command = r.command(n) },
		"constraints": func(n ast.Node) {
			f.Constraints = r.texts(n, "constraints", "[node.labels.arch==arm]", checkConstraint)
		},
	})
	r.agreement(f, settings)
	return f
}

// agreement looks at settings that do not go together.
func (r *manifestReader) agreement(f *Function, settings []entry) {
	for _, e := range settings {
		switch e.key {
		case "addresses":
			if f.Image != "" {
				r.fault(e.at, "addresses and image exclude each other: remove image to call fixed tasks, or addresses to deploy the image")
			}
		case "concurrency":
			if f.Lifecycle == LifecycleOneShot && f.Concurrency > 1 {
				r.fault(e.at, "concurrency is %d, but a one-shot task takes one connection: write 1, or lifecycle: server", f.Concurrency)
			}
		case "command", "replicas", "env", "secrets", "configs", "constraints", "labels", "resources":
			if f.Image == "" {
				r.warn(e.at, "%s has no effect on a function without image, which is only called", e.key)
			}
		}
	}
}

func (r *report) image(n ast.Node) string {
	s, ok := r.text(n, "image")
	if ok && !printable(s) {
		r.fault(at(n), "image %q has blanks or control characters: write a reference such as registry.example.org/hello:1.0", s)
	}
	return s
}

func (r *manifestReader) lifecycle(n ast.Node) Lifecycle {
	s, ok := r.text(n, "lifecycle")
	switch l := Lifecycle(s); l {
	case LifecycleAuto, LifecycleOneShot, LifecycleServer:
		return l
	}
	if ok {
		known := []string{string(LifecycleAuto), string(LifecycleOneShot), string(LifecycleServer)}
		r.fault(at(n), "lifecycle %q is unknown: %s", s, suggest(s, known))
	}
	return LifecycleAuto
}

func (r *manifestReader) payload(n ast.Node) Payload {
	s, ok := r.text(n, "payload")
	switch p := Payload(s); p {
	case PayloadPlain, PayloadCloudEvents:
		return p
	}
	if ok {
		r.fault(at(n), "payload %q is unknown: %s", shorten(s), suggest(s, []string{string(PayloadPlain), string(PayloadCloudEvents)}))
	}
	return PayloadPlain
}

func (r *manifestReader) replicas(n ast.Node) Replicas {
	replicas := Replicas{Min: -1, Max: -1}
	before := len(r.faults)
	r.object(n, "replicas", fields{
		"min": func(n ast.Node) { replicas.Min = r.integer(n, "min", 0, maxReplicas) },
		"max": func(n ast.Node) { replicas.Max = r.integer(n, "max", 1, maxReplicas) },
	})
	if replicas.Min < 0 {
		replicas.Min = 1
	}
	if replicas.Max < 0 {
		replicas.Max = max(1, replicas.Min)
	}
	if len(r.faults) == before && replicas.Min > replicas.Max {
		r.fault(at(n), "replicas: min %d is above max %d: raise max or lower min", replicas.Min, replicas.Max)
	}
	return replicas
}

func (r *manifestReader) retry(n ast.Node) Retry {
	retry := NewFunction("").Retry
	before, maxGiven := len(r.faults), false
	r.object(n, "retry", fields{
		"attempts": func(n ast.Node) { retry.Attempts = r.integer(n, "attempts", 1, maxAttempts) },
		"initial":  func(n ast.Node) { retry.Initial = r.duration(n, "initial", maxEventAge) },
		"max":      func(n ast.Node) { retry.Max, maxGiven = r.duration(n, "max", maxEventAge), true },
		"max-age":  func(n ast.Node) { retry.MaxAge = r.duration(n, "max-age", maxEventAge) },
	})
	if !maxGiven {
		retry.Max = max(retry.Max, retry.Initial)
	}
	if len(r.faults) == before && retry.Initial > retry.Max {
		r.fault(at(n), "retry: initial %v is above max %v: raise max or lower initial", retry.Initial, retry.Max)
	}
	return retry
}

// command reads arguments, which may be there twice.
func (r *manifestReader) command(n ast.Node) []string {
	var all []string
	for _, item := range r.items(n, "command", "[function, hello]") {
		if s, ok := r.text(item, "an argument of command"); ok {
			all = append(all, s)
		}
	}
	return all
}

// env reads the environment. Its values may be secret and are never quoted.
func (r *manifestReader) env(n ast.Node) map[string]string {
	return r.pairs(n, "env", func(key string) string {
		if strings.ContainsAny(key, "=\x00") || !printable(key) {
			return "cannot name a variable: use letters, digits and _"
		}
		return ""
	})
}

// pairs reads a mapping of texts. check says what is wrong with a key that is not empty.
func (r *manifestReader) pairs(n ast.Node, what string, check func(key string) string) map[string]string {
	all := map[string]string{}
	for _, e := range r.entries(n, what) {
		fault := "is no name: write one"
		if e.key != "" {
			fault = check(e.key)
		}
		if fault != "" {
			r.fault(e.at, "%s: %q %s", what, shorten(e.key), fault)
		}
		value, ok := scalar(e.value)
		switch {
		case isNull(e.value):
			r.fault(e.at, `%s: %q has no value: write "" for an empty one`, what, shorten(e.key))
		case !ok:
			r.fault(at(e.value), "%s: the value of %q must be a text, not %s", what, shorten(e.key), kind(e.value))
		case strings.ContainsRune(value, 0):
			r.fault(at(e.value), "%s: the value of %q has a NUL, which it cannot hold: remove it", what, shorten(e.key))
		}
		all[e.key] = value
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
