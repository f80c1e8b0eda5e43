package trigger

import (
	"crypto/rand"
	_ "embed" // for the samples
	"fmt"
	"strings"
	"time"
)

// sample is a body as a sender sends it. fresh returns pairs of what differs in
// it from one request to the next, and what to put there.
type sample struct {
	body  string
	fresh func(cfg Config, now time.Time) []string
}

//go:embed samples/alexa.json
var alexaBody string

//go:embed samples/github.json
var gitHubBody string

// SampleSkillID is the skill id in Sample(Alexa).
const SampleSkillID = "amzn1.ask.skill.5a3b1c0e-0000-4000-8000-000000000001"

var alexaSample = sample{alexaBody, func(cfg Config, now time.Time) []string {
	skill := SampleSkillID
	if len(cfg.SkillIDs) > 0 {
		skill = cfg.SkillIDs[0]
	}
	return []string{
		SampleSkillID, skill,
		"amzn1.echo-api.request.00000000-0000-4000-8000-000000000001", "amzn1.echo-api.request." + newGUID(),
		"2026-11-02T08:30:00Z", now.UTC().Format(time.RFC3339),
	}
}}

// A push gets a new head commit each time: bodies that are equal have the same
// signature, and so look like one delivery sent again.
var gitHubSample = sample{gitHubBody, func(_ Config, now time.Time) []string {
	return []string{
		"b7d1c94e5f6a8b90c1d2e3f4a5b6c7d8e9f0a1b2", randomHex(20),
		"2026-11-02T08:30:00Z", now.UTC().Format(time.RFC3339),
	}
}}

// Sample returns a body that a sender of that kind could send, always the same:
// an IntentRequest for HelloIntent, or a push of two commits. It is nil for a
// kind that does not exist.
func Sample(kind string) []byte {
	s, err := senderOf(kind)
	if err != nil {
		return nil
	}
	return []byte(s.sample.body)
}

// SampleFor returns Sample(cfg.Kind) as the trigger of cfg would get it at the
// time now: with its first skill id, and with ids that no earlier sample had.
func SampleFor(cfg Config, now time.Time) []byte {
	s, err := senderOf(cfg.Kind)
	if err != nil {
		return nil
	}
	r := strings.NewReplacer(s.sample.fresh(cfg, now)...)
	return []byte(r.Replace(s.sample.body))
}

// newGUID returns a random UUID of version 4 (RFC 9562).
func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func randomHex(size int) string {
	b := make([]byte, size)
	rand.Read(b)
	return fmt.Sprintf("%x", b)
}
