package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// documented returns the limits of the operator's page, and what sets them, by what they limit.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 {
			limits[strings.TrimSpace(cells[1])] = cells[2] + cells[3]
		}
	}
	return limits
}

func TestLimits_AreWhatTheOperatorsPageSays(t *testing.T) {
	limits := documented(t)
	if funker.DefaultMaxRequest < queue.MaxBody || ingress.DefaultMaxBody > queue.MaxBody || ingress.DefaultMaxInFlightBytes < queue.MaxBody {
		t.Error("the limits do not agree")
	}
	for what, values := range map[string][]string{
		"body of an event":                                        {mib(ingress.DefaultMaxBody), "at most " + mib(queue.MaxBody)},
		"body of a call, Alexa's too":                             {bytesText(queue.MaxMessage)},
		"body in the message of its event":                        {bytesText(queue.MaxMessage)},
		"reply of a function":                                     {bytesText(queue.MaxMessage)},
		"request to a function made with the Go package `funker`": {mib(funker.DefaultMaxRequest)},
		"requests at once":                                        {fmt.Sprint(ingress.DefaultMaxInFlight)},
		"bytes of their bodies, without the first 64 KiB of each": {"at most " + mib(ingress.DefaultMaxInFlightBytes)},
		"nesting of JSON":                                         {fmt.Sprintf("%d levels", trigger.MaxDepth)},
		"time of a call":                                          {"at most " + seconds(queue.MaxCallTime)},
		"time of an event":                                        {seconds(deploy.DefaultTimeout)},
		"work of a dead worker":                                   {seconds(queue.DefaultAckWait)},
		"name of a function or source, escaped":                   {fmt.Sprintf("%d bytes", queue.MaxNameLength)},
		"`events list`, `funker.events`":                          {fmt.Sprint(queue.DefaultLimit), fmt.Sprintf("at most %d", queue.MaxLimit)},
		"FUNKER_EVENTS":                                           {"at least " + mib(queue.MinEvents)},
		"stopping":                                                {seconds(defaultGrace)},
		"certificate files of `--tls-cert` and `--tls-key`":       {"read every " + seconds(filesCheck)},
		"certificate that is about to expire":                     {fmt.Sprintf("%d days", expiryWarning/(24*time.Hour))},
	} {
		for _, v := range values {
			if !strings.Contains(limits[what], " "+v) {
				t.Errorf("%s: the page says %q, and the program %s", what, limits[what], v)
			}
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d s", d/time.Second) }
func mib(n int64) string             { return fmt.Sprintf("%d MiB", n>>20) }

// bytesText writes a number as the page does: 8,323,072 bytes.
func bytesText(n int) string {
	return fmt.Sprintf("%d,%03d,%03d bytes", n/1_000_000, n/1000%1000, n%1000)
}
