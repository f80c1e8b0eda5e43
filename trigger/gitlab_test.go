package trigger_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const push = `{"object_kind":"push","ref":"refs/heads/main"}`

var (
	tokenConfig = trigger.Config{Kind: trigger.GitLab, Secrets: []trigger.Secret{[]byte("old"), []byte(secret)}}
	bothConfig  = trigger.Config{Kind: trigger.GitLab, Secrets: tokenConfig.Secrets, SigningSecrets: gitLabConfig.SigningSecrets}
)

func TestGitLab_TakesASignatureOrATokenAsConfigured(t *testing.T) {
	signed := func(change ...string) http.Header {
		h := signedAs(trigger.GitLab, keyBytes, at(0), []byte(push))
		for i := 0; i < len(change); i += 2 {
			h.Set(change[i], change[i+1])
		}
		return h
	}
	token := func(values ...string) http.Header {
		return http.Header{"X-Gitlab-Token": values, "Idempotency-Key": {"k-1"}}
	}
	for name, c := range map[string]struct {
		cfg      trigger.Config
		header   http.Header
		want     trigger.Reason
		identity string
	}{
		"signature":                          {gitLabConfig, signed(), "", "m-1"},
		"signature, another key header":      {gitLabConfig, signed("Idempotency-Key", "k-1"), "", "m-1"},
		"signature and a wrong token":        {bothConfig, signed("X-Gitlab-Token", "x"), "", "m-1"},
		"signature wanted, token sent":       {gitLabConfig, token(secret), trigger.ReasonUnsigned, ""},
		"token":                              {tokenConfig, token(secret), "", "k-1"},
		"the other token":                    {tokenConfig, token("old"), "", "k-1"},
		"token, both configured":             {bothConfig, token(secret), "", "k-1"},
		"token, signature not configured":    {tokenConfig, signed("X-Gitlab-Token", secret, "webhook-signature", "v1,x"), "", ""},
		"right token, wrong signature":       {bothConfig, signed("X-Gitlab-Token", secret, "webhook-id", "m-2"), trigger.ReasonForged, ""},
		"right token, empty signature":       {bothConfig, signed("X-Gitlab-Token", secret, "webhook-signature", ""), trigger.ReasonUnsigned, ""},
		"right token, unknown version":       {bothConfig, signed("X-Gitlab-Token", secret, "webhook-signature", "v2,AAAA"), trigger.ReasonForged, ""},
		"right token, old signature":         {bothConfig, moved(trigger.GitLab, signed("X-Gitlab-Token", secret), at(0), "1614265330"), trigger.ReasonStale, ""},
		"no token":                           {tokenConfig, http.Header{}, trigger.ReasonUnsigned, ""},
		"empty token":                        {tokenConfig, token(""), trigger.ReasonUnsigned, ""},
		"wrong token":                        {tokenConfig, token(secret + "x"), trigger.ReasonForged, ""},
		"begin of the token":                 {tokenConfig, token(secret[:9]), trigger.ReasonForged, ""},
		"token in other letters":             {tokenConfig, token(strings.ToUpper(secret)), trigger.ReasonForged, ""},
		"two tokens":                         {tokenConfig, token(secret, "x"), trigger.ReasonForged, ""},
		"the signing token as plain token":   {bothConfig, token(keyText), trigger.ReasonForged, ""},
		"nothing, both configured":           {bothConfig, http.Header{}, trigger.ReasonUnsigned, ""},
		"svix headers are not GitLab's":      {gitLabConfig, http.Header{"Svix-Id": {"m-1"}, "Svix-Signature": {"v1,x"}}, trigger.ReasonUnsigned, ""},
		"insecure":                           {trigger.Config{Kind: trigger.GitLab, Insecure: true}, token("x"), "", "k-1"},
		"insecure, with a signing token set": {trigger.Config{Kind: trigger.GitLab, Insecure: true, SigningSecrets: gitLabConfig.SigningSecrets}, token("x"), trigger.ReasonUnsigned, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newVerifier(t, c.cfg)(t.Context(), trigger.Request{Header: c.header, Body: []byte(push), Time: received})
			if c.want != "" {
				wantRefusal(t, err, c.want)
				wantHidden(t, err, keyParts...)
				return
			}
			if err != nil || got.Identity != c.identity || got.Name != "Push Hook" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestGitLab_NamesTheEventByTheHeaderOrTheBody(t *testing.T) {
	verify := newVerifier(t, trigger.Config{Kind: trigger.GitLab, Insecure: true})
	for body, want := range map[string][2]string{
		`{"object_kind":"build"}`: {"", "Job Hook"}, `{"object_kind":"merge_request"}`: {"", "Merge Request Hook"},
		`{"object_kind":"issue"}`: {"Confidential Issue Hook", "Confidential Issue Hook"}, `{"event_name":"user_create"}`: {"System Hook", "System Hook"},
		`{}`: {"Invented Hook", "Invented Hook"},
	} {
		r := trigger.Request{Header: http.Header{}, Body: []byte(body)}
		if want[0] != "" {
			r.Header.Set("X-Gitlab-Event", want[0])
		}
		if got, err := verify(t.Context(), r); err != nil || got.Name != want[1] || got.Answer != trigger.AnswerStored {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{`{}`, `{"object_kind":"invented"}`, `{"object_kind":7}`, `[]`, `null`} {
		_, err := verify(t.Context(), trigger.Request{Header: http.Header{}, Body: []byte(body)})
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
	if got := trigger.NameHeader(trigger.Config{Kind: trigger.GitLab}); got != "X-Gitlab-Event" {
		t.Errorf("got %q", got)
	}
}

func TestGitLab_KeepsItsHeadersButNoToken(t *testing.T) {
	want := map[string]string{
		"X-Gitlab-Event": "Push Hook", "X-Gitlab-Instance": "https://gitlab.example.org", "X-Gitlab-Webhook-UUID": "u", "X-Gitlab-Event-UUID": "e",
		"Idempotency-Key": "k", "webhook-id": "m-1", "webhook-timestamp": at(0),
	}
	h := signedAs(trigger.GitLab, keyBytes, at(0), []byte(push))
	for name, value := range want {
		h.Set(name, value)
	}
	h.Set("X-Gitlab-Token", secret)
	got, err := newVerifier(t, bothConfig)(t.Context(), trigger.Request{Header: h, Body: []byte(push), Time: received})
	if err != nil || fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got.Header, err, want)
	}
}

func TestGitLab_SigningTokensThatAreNoneAreRefused(t *testing.T) {
	for _, token := range []string{"", secret, "whsec_", keyText[:len(keyText)-4], keyText + "AAAA", publicKey, "whsec_dG9vIHNob3J0"} {
		cfg := trigger.Config{Kind: trigger.GitLab, Secrets: tokenConfig.Secrets, SigningSecrets: []trigger.Secret{[]byte(token)}}
		_, err := trigger.New(cfg, nil)
		if err == nil || !strings.Contains(err.Error(), "signing secret 1 of 1 is not whsec_ and the base64 of 32 bytes") {
			t.Errorf("%q: got %v", token, err)
			continue
		}
		wantHidden(t, err, keyParts...)
	}
}

func TestGitLab_SignsWithAllThatIsConfigured(t *testing.T) {
	h := sign(t, bothConfig, []byte(push))
	if h.Get("X-Gitlab-Token") != "old" || h.Get("webhook-id") != h.Get("Idempotency-Key") || h.Get("X-Gitlab-Event") != "Push Hook" {
		t.Errorf("got %v", h)
	}
}

func TestGitLab_AgreesWithTheSignatureVectors(t *testing.T) {
	headers := []string{"webhook-id", "webhook-timestamp", "webhook-signature", "X-Gitlab-Event", "X-Gitlab-Token", "Idempotency-Key"}
	vectors(t, "gitlab/signature-vectors.json", headers, func(v vector) trigger.Config {
		return trigger.Config{Kind: trigger.GitLab, Secrets: secretsOf(v, "secret"), SigningSecrets: secretsOf(v, "signing_token")}
	})
}

func TestGitLab_AcceptsRecordedEvents(t *testing.T) {
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "gitlab/*-event.json") {
		got, err := newVerifier(t, gitLabConfig)(t.Context(), trigger.Request{Header: sign(t, gitLabConfig, body), Body: body, Time: received})
		kind, _, _ := strings.Cut(name, "-")
		if err != nil || !strings.HasPrefix(strings.ToLower(got.Name), kind) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
