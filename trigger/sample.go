package trigger

import (
	"crypto/rand"
	"embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

//go:embed samples
var samples embed.FS

// What the samples have where every trigger gets something else.
const (
	SampleSkillID = "amzn1.ask.skill.5a3b1c0e-0000-4000-8000-000000000001" // of Alexa
	SampleTopic   = "arn:aws:sns:eu-central-1:123456789012:uploads"        // of SNS
)

// Sample returns a body that a sender of that kind could send, always the same:
// an IntentRequest for HelloIntent, a push of two commits, or a notification of S3
// about one object. It is nil for a kind that does not exist.
func Sample(kind string) []byte {
	s, err := senderOf(kind)
	if err != nil {
		return nil
	}
	body, err := samples.ReadFile("samples/" + s.sample + ".json")
	if err != nil {
		return nil
	}
	return body
}

// SampleFor returns Sample(cfg.Kind) as the trigger of cfg would get it at the
// time now: Fill of Template. A push has a new head commit too: bodies that are
// equal have the same signature, and so look like one delivery sent again.
func SampleFor(cfg Config, now time.Time) []byte { return Fill(cfg, Template(cfg), now) }

// Template returns Sample(cfg.Kind) in the form that the trigger of cfg takes, to
// be edited and then completed by Fill. nil for a kind that does not exist.
func Template(cfg Config) []byte {
	body := Sample(cfg.Kind)
	if m, err := readSNS(body); cfg.RawDelivery && err == nil {
		body = []byte(m.message)
	}
	return body
}

// Fill completes a body that was made of a sample: it gets the first skill id or
// topic of cfg, ids that no earlier one had, and the time now, in place of those that
// every sample has. Nothing else is changed.
func Fill(cfg Config, body []byte, now time.Time) []byte {
	if body == nil {
		return nil
	}
	r := strings.NewReplacer(
		SampleSkillID, first(cfg.SkillIDs, SampleSkillID),
		SampleTopic, first(cfg.Topics, SampleTopic),
		"00000000-0000-4000-8000-000000000001", newGUID(),
		"00000000000000000000000000000001", randomHex(16),
		"b7d1c94e5f6a8b90c1d2e3f4a5b6c7d8e9f0a1b2", randomHex(20), // a commit
		"0055AED6DCD90281E5", strings.ToUpper(randomHex(9)), // a sequencer of S3
		"187A6C5D4E3F2A1B", strings.ToUpper(randomHex(8)), // and of MinIO
		"2026-11-02T08:30:00Z", now.UTC().Format(time.RFC3339),
		"1793608200000", strconv.FormatInt(now.UnixMilli(), 10),
		"1793608200", strconv.FormatInt(now.Unix(), 10),
	)
	return []byte(r.Replace(string(body)))
}

func first(texts []string, otherwise string) string {
	if len(texts) == 0 {
		return otherwise
	}
	return texts[0]
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
