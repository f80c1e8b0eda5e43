package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestExpiry_IsNearInTheLastDaysOfALife(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		life, left time.Duration
		want       bool
	}{
		{90 * day, 15 * day, false}, {90 * day, 14*day - time.Second, true}, {90 * day, -day, true},
		{400 * day, 15 * day, false}, {400 * day, 13 * day, true},
		{45 * day, 14 * day, false}, {45 * day, 11 * day, true}, // renewed with 15 days left
		{6 * day, 2 * day, false}, {6 * day, day, true},
		{day, 7 * time.Hour, false}, {day, 5 * time.Hour, true},
	} {
		e := expiry{"x", now.Add(c.left - c.life), now.Add(c.left)}
		if got := e.isNear(now); got != c.want {
			t.Errorf("life of %s, %s left: got %v", c.life, c.left, got)
		}
	}
	if (expiry{name: "x"}).isNear(now) {
		t.Error("a certificate that is not there yet is about to expire")
	}
}

func TestWarnOfExpiry_OnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		cert, key := a.issue(time.Now().Add(-75*day), time.Now().Add(15*day)).save(t, t.TempDir())
		c, log := openFiles(t, cert, key)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go warnOfExpiry(ctx, c, slog.New(slog.NewTextHandler(log, nil)))
		for passed, want := range []int{0, 1, 2, 3, 4} { // at the end of that day
			time.Sleep(day - time.Minute)
			synctest.Wait()
			if got := strings.Count(log.String(), "level=WARN"); got != want {
				t.Errorf("day %d: %d warnings, want %d:\n%s", passed+1, got, want, log)
			}
			time.Sleep(time.Minute)
		}
		if !strings.Contains(log.String(), "name=hooks.example.com expires=") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestExpiryMetric_TellsWhen(t *testing.T) {
	a := newAuthority(t)
	p := a.valid()
	cert, key := p.save(t, t.TempDir())
	c, _ := openFiles(t, cert, key)
	registry := prometheus.NewRegistry()
	registry.MustRegister(expiryMetric{{c, "admin"}})
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("got %v, %v", families, err)
	}
	got := families[0].GetMetric()[0]
	if families[0].GetName() != "funker_tls_certificate_expiry_timestamp_seconds" || got.GetLabel()[0].GetValue() != "admin" || got.GetLabel()[1].GetValue() != hooks ||
		got.GetGauge().GetValue() != float64(p.leaf.NotAfter.Unix()) {
		t.Errorf("got %s", fmt.Sprint(families))
	}
}
