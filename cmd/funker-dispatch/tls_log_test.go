package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestZapCore_PassesOnWhatAnOperatorHasToKnow(t *testing.T) {
	var out buffer
	log := zap.New(&zapCore{log: slog.New(slog.NewTextHandler(&out, nil))}).Named("obtain").With(zap.String("identifier", hooks))
	log.Debug("a whole request")
	log.Info("acquiring lock")
	log.Error("job failed", zap.Error(fmt.Errorf("obtain: %w", context.Canceled)))
	if out.String() != "" {
		t.Errorf("got %s", out.String())
	}
	log.Warn("HTTP request failed; retrying", zap.Int("attempt", 2))
	log.Error("will retry", zap.Error(errors.New("no such host")))
	got := out.String()
	for _, want := range []string{
		`level=WARN msg=acme message="HTTP request failed; retrying" attempt=2 identifier=hooks.example.com`,
		`level=ERROR msg=acme message="will retry" error="no such host" identifier=hooks.example.com`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in %s", want, got)
		}
	}
}
