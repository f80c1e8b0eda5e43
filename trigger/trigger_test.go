package trigger_test

import (
	"crypto/hmac"
	"errors"
	"hash"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	skill  = "amzn1.ask.skill.test"
	secret = "an oil lamp and a fresnel lens"
)

var (
	alexaConfig  = trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{skill}, IDOnly: true}
	gitHubConfig = trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}
	received     = time.Date(2026, 11, 2, 8, 30, 1, 0, time.UTC)
)

func newVerifier(t testing.TB, cfg trigger.Config) trigger.Verifier {
	t.Helper()
	verify, err := trigger.New(cfg, noFetch)
	if err != nil {
		t.Fatalf("New(%s): %v", cfg.Kind, err)
	}
	return verify
}

func sign(t testing.TB, cfg trigger.Config, body []byte) http.Header {
	t.Helper()
	header, err := trigger.Sign(cfg, body, received)
	if err != nil {
		t.Fatalf("Sign(%s): %v", cfg.Kind, err)
	}
	return header
}

// hmacOf is the HMAC of some parts, one after the other, written against the senders' documentation and not against the package.
func hmacOf(algorithm func() hash.Hash, key string, parts ...string) []byte {
	h := hmac.New(algorithm, []byte(key))
	h.Write([]byte(strings.Join(parts, "")))
	return h.Sum(nil)
}

// wantHidden looks for secrets, or parts that would help to guess them, in an error.
func wantHidden(t testing.TB, err error, hidden ...string) {
	t.Helper()
	text := strings.ToLower(err.Error())
	for _, h := range hidden {
		if strings.Contains(text, strings.ToLower(h)) {
			t.Errorf("the error discloses %q: %v", h, err)
		}
	}
}

// reasonOf returns the reason of a refusal, and fails the test when err is none.
func reasonOf(t testing.TB, err error) trigger.Reason {
	t.Helper()
	var refusal *trigger.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a *trigger.Error", err)
	}
	if refusal.Detail == "" || len(refusal.Error()) > 300 {
		t.Errorf("a refusal must say why in a line, got %q", refusal.Error())
	}
	return refusal.Reason
}

func wantRefusal(t testing.TB, err error, want trigger.Reason) {
	t.Helper()
	if got := reasonOf(t, err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// extraFiles returns the files of a folder with more test data, by name; none
// when the variable that names the folder is not set.
func extraFiles(t testing.TB, variable, pattern string) map[string][]byte {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		t.Logf("%s is not set: only the package's own data is used", variable)
		return nil
	}
	names, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s=%s (%v)", pattern, variable, dir, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = data
	}
	return files
}

// everyKind is a trigger of each kind that takes what Sign makes for it.
func everyKind() []trigger.Config {
	var all []trigger.Config
	for _, kind := range trigger.Kinds() {
		all = append(all, trigger.Config{
			Kind: kind, Secrets: []trigger.Secret{[]byte(keyText)}, TestSecrets: []trigger.Secret{[]byte(secret)},
			SkillIDs: []string{skill}, Topics: []string{topic}, IDFrom: "/id", EventFrom: "/type",
		})
	}
	return all
}

func TestNew_EveryKindNeedsAProofOrSaysThatItHasNone(t *testing.T) {
	for _, cfg := range everyKind() {
		_, err := trigger.New(trigger.Config{Kind: cfg.Kind}, noFetch)
		if !errors.Is(err, trigger.ErrUnverified) || !strings.Contains(err.Error(), "or say insecure: true") {
			t.Errorf("%s with nothing: %v", cfg.Kind, err)
		}
		if _, err := trigger.New(trigger.Config{Kind: cfg.Kind, Insecure: true}, noFetch); err != nil {
			t.Errorf("%s that is insecure: %v", cfg.Kind, err)
		}
		for _, insecure := range []bool{false, true} {
			empty := cfg
			empty.Secrets, empty.Insecure = append(slices.Clone(cfg.Secrets), nil), insecure
			if verify, err := trigger.New(empty, noFetch); !errors.Is(err, trigger.ErrUnverified) || verify != nil || strings.Contains(err.Error(), keyText) {
				t.Errorf("%s with an empty secret: %v", cfg.Kind, err)
			}
		}
	}
	cfg := gitLabConfig
	cfg.SigningSecrets = append(slices.Clone(cfg.SigningSecrets), nil)
	if _, err := trigger.New(cfg, noFetch); err == nil {
		t.Error("GitLab takes an empty signing token")
	}
}

var proofs = regexp.MustCompile(`(?i)authorization|signature|token|api-key|access-key|^webhook-(id|timestamp)$|x-slack-request-timestamp`)

func TestVerify_RefusesAProofThatIsThereTwice(t *testing.T) {
	for _, cfg := range everyKind() {
		body := trigger.SampleFor(cfg, received)
		verify, found := newVerifier(t, cfg), 0
		for name := range sign(t, cfg, body) {
			if !proofs.MatchString(name) {
				continue
			}
			found++
			for _, second := range []string{"", "x", sign(t, cfg, body).Get(name)} {
				header := sign(t, cfg, body)
				header.Add(name, second)
				_, err := verify(t.Context(), trigger.Request{Header: header, Body: body, Time: received})
				wantRefusal(t, err, trigger.ReasonForged)
			}
		}
		if found == 0 {
			t.Errorf("%s: no header with a proof", cfg.Kind)
		}
	}
}

func TestNew_FailsClosedWhenNothingVerifies(t *testing.T) {
	cases := map[string]struct {
		cfg        trigger.Config
		unverified bool
	}{
		"alexa with nothing":            {trigger.Config{Kind: trigger.Alexa}, true},
		"alexa with a secret only":      {trigger.Config{Kind: trigger.Alexa, Secrets: []trigger.Secret{[]byte(secret)}}, true},
		"alexa id-only without an id":   {trigger.Config{Kind: trigger.Alexa, IDOnly: true}, true},
		"alexa id without id-only":      {trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{skill}}, true},
		"alexa with an empty id":        {trigger.Config{Kind: trigger.Alexa, IDOnly: true, SkillIDs: []string{skill, ""}}, false},
		"insecure with an empty id":     {trigger.Config{Kind: trigger.Alexa, Insecure: true, SkillIDs: []string{""}}, false},
		"github with nothing":           {trigger.Config{Kind: trigger.GitHub}, true},
		"github with an empty secret":   {trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{{}}}, true},
		"github with a skill id":        {trigger.Config{Kind: trigger.GitHub, SkillIDs: []string{skill}, IDOnly: true}, true},
		"no kind":                       {trigger.Config{Insecure: true}, false},
		"unknown kind":                  {trigger.Config{Kind: "gitlob", Secrets: []trigger.Secret{[]byte(secret)}}, false},
		"a kind in other letters":       {trigger.Config{Kind: "GitHub", Secrets: []trigger.Secret{[]byte(secret)}}, false},
		"unknown kind, although unsafe": {trigger.Config{Kind: "x", Insecure: true}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			verify, err := trigger.New(c.cfg, nil)
			if err == nil || verify != nil {
				t.Fatalf("got a verifier and error %v, want only an error", err)
			}
			if got := errors.Is(err, trigger.ErrUnverified); got != c.unverified {
				t.Errorf("errors.Is(%v, ErrUnverified) = %v, want %v", err, got, c.unverified)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), skill) {
				t.Errorf("the error shows what is configured: %v", err)
			}
		})
	}
}

func TestNew_InsecureNeverSwitchesOffAConfiguredCheck(t *testing.T) {
	cfg := gitHubConfig
	cfg.Insecure = true
	_, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Body: trigger.Sample(trigger.GitHub)})
	wantRefusal(t, err, trigger.ReasonUnsigned)

	cfg = trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{skill}, Insecure: true}
	_, err = newVerifier(t, cfg)(t.Context(), trigger.Request{Body: trigger.Sample(trigger.Alexa)})
	wantRefusal(t, err, trigger.ReasonWrongSkill)
}

func TestNew_KeepsItsOwnCopyOfTheConfig(t *testing.T) {
	cfg := trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}
	body := trigger.Sample(cfg.Kind)
	header := sign(t, cfg, body)
	verify := newVerifier(t, cfg)
	clear(cfg.Secrets[0])
	if _, err := verify(t.Context(), trigger.Request{Header: header, Body: body}); err != nil {
		t.Errorf("after the caller cleared its secret: %v", err)
	}

	cfg = trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, IDOnly: true}
	verify = newVerifier(t, cfg)
	cfg.SkillIDs[0] = "another"
	if _, err := verify(t.Context(), trigger.Request{Body: trigger.Sample(cfg.Kind)}); err != nil {
		t.Errorf("after the caller changed its skill ids: %v", err)
	}
}

func TestSign_RefusesAKindThatDoesNotExist(t *testing.T) {
	if header, err := trigger.Sign(trigger.Config{Kind: "x"}, []byte("{}"), received); err == nil {
		t.Errorf("got %v, want an error", header)
	}
}

func TestAnswer_HasANameForEachValue(t *testing.T) {
	for answer, want := range map[trigger.Answer]string{
		trigger.AnswerReply: "reply", trigger.AnswerStored: "stored", trigger.AnswerControl: "control", 0: "Answer(0)",
	} {
		if got := answer.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
