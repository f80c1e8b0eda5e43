package trigger_test

import (
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestReadyFor_IsAccepted(t *testing.T) {
	now := time.Now()
	raw := trigger.Config{Kind: trigger.SNS, Topics: []string{topic}, RawDelivery: true, User: "sns", Secrets: []trigger.Secret{[]byte(secret)}}
	count, kinds := 0, map[string]bool{}
	for _, cfg := range append(everyKind(), raw) {
		all := trigger.ReadyFor(cfg)
		if len(all) == 0 {
			t.Errorf("%s has none", cfg.Kind)
		}
		for _, ready := range all {
			count++
			kinds[cfg.Kind] = true
			body := trigger.Fill(cfg, ready.Body, now)
			header, err := trigger.Sign(cfg, body, now)
			if err != nil {
				t.Fatalf("%s, %s: %v", cfg.Kind, ready.Title, err)
			}
			if _, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: header, Body: body, Time: now}); err != nil || ready.Title == "" {
				t.Errorf("%s, %q: %v", cfg.Kind, ready.Title, err)
			}
		}
	}
	if more := 7 + 1; count != len(trigger.Kinds())+1+more || len(kinds) != len(trigger.Kinds()) {
		t.Errorf("there are %d bodies of %d kinds", count, len(kinds))
	}
	if got := trigger.ReadyFor(trigger.Config{Kind: "pigeon"}); got != nil {
		t.Errorf("got %v", got)
	}
}
