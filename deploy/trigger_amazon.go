package deploy

import (
	"errors"
	"regexp"

	"github.com/goccy/go-yaml/ast"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// sns are the keys of SNS.
func (r *triggerReader) sns() fields {
	t := r.t
	return fields{
		"topics":           func(n ast.Node) { t.Topics = r.topics(n) },
		"require-sha256":   func(n ast.Node) { t.RequireSHA256 = r.boolean(n, "require-sha256") },
		"raw-delivery":     func(n ast.Node) { t.RawDelivery = r.boolean(n, "raw-delivery") },
		"user":             func(n ast.Node) { t.User = r.user(n) },
		"split":            func(n ast.Node) { t.Split = r.boolean(n, "split") },
		"test-secret-file": func(n ast.Node) { t.TestSecrets = r.secrets(n, "test-secret-file") },
		"payload": func(n ast.Node) {
			t.Payload = r.oneOf(n, "payload", trigger.PayloadLambda, trigger.PayloadMessage, trigger.PayloadRaw)
		},
	}
}

var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)

func (r *triggerReader) topics(n ast.Node) []string {
	before := len(r.faults)
	topics := r.texts(n, "topics", "[\"arn:aws:sns:eu-central-1:123456789012:alarms\"]", func(s string) (string, error) {
		if !topicARN.MatchString(s) {
			return "", errors.New("is not the ARN of a topic: copy it from the SNS console, such as arn:aws:sns:eu-central-1:123456789012:alarms")
		}
		return s, nil
	})
	r.open = len(topics) == 0 && len(r.faults) == before
	return topics
}

// alexaVerified: Amazon's certificate is checked unless something else is said.
func (r *triggerReader) alexaVerified() {
	if r.keys["verify"] != nil && r.t.Insecure {
		r.fault(r.keys["insecure"], "insecure: true and verify exclude each other: remove one")
	}
	if r.open && !r.t.Insecure {
		r.fault(r.kind, "the alexa trigger has no skill id: write alexa: amzn1.ask.skill.…")
	}
	if r.keys["verify"] != nil {
		r.untested("verify: id-only")
	}
	r.untestedIfInsecure()
}

func (r *triggerReader) snsVerified() {
	if (r.keys["topics"] == nil || r.open) && !r.t.Insecure {
		r.fault(r.kind, "nothing verifies the sns trigger: add topics: [<ARN>], or insecure: true (everybody may call)")
	}
	for _, key := range []string{"user", "secret-file"} {
		switch given := r.keys[key] != nil; {
		case given && !r.t.RawDelivery:
			r.fault(r.keys[key], "%s is for raw-delivery: true: add that, or remove %s", key, key)
		case given && r.t.Insecure:
			r.fault(r.keys[key], "insecure: true and %s exclude each other: remove one", key)
		case !given && r.t.RawDelivery && !r.t.Insecure:
			r.fault(r.keys["raw-delivery"], "raw-delivery has no signature, so it needs user and secret-file: add %s", key)
		}
	}
	if r.t.RawDelivery && r.keys["payload"] != nil {
		r.fault(r.keys["payload"], "raw-delivery brings the message alone: remove payload")
	}
	r.untestedIfInsecure()
}

func (r *triggerReader) untestedIfInsecure() {
	if r.t.Insecure {
		r.untested("insecure: true")
	}
}

// untested reports test secrets where no signature is checked that they could stand for.
func (r *triggerReader) untested(because string) {
	if at := r.keys["test-secret-file"]; at != nil {
		r.fault(at, "test-secret-file has no effect with %s, as no signature is checked: remove one", because)
	}
}
