package queue

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// documented returns the limits of the operator's page, and what is beyond them, by what they limit.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 {
			limits[strings.TrimSpace(cells[1])] = cells[2] + cells[4]
		}
	}
	return limits
}

func TestLimits_AreWhatTheOperatorsPageSays(t *testing.T) {
	limits, retry := documented(t), Retry{}.withDefaults()
	if got, want := bodiesMaxBytes(eventsMost), int64(eventsMost/4); got != want {
		t.Errorf("bodies: got %d bytes, want a quarter, %d", got, want)
	}
	for what, values := range map[string][]string{
		"function without a task":                                  {fmt.Sprintf("%d ms", holdPause.Milliseconds()), minutes(holdTime)},
		"call that no task took":                                   {fmt.Sprintf("handed out %d times", handBacks)},
		"work handed out and not settled, per function and stream": {fmt.Sprint(maxPending)},
		"event whose workers died":                                 {fmt.Sprintf("%d times", maxDeliver)},
		"attempts of an event, and the waits between them":         {fmt.Sprint(retry.Attempts), seconds(retry.Initial), minutes(retry.Max)},
		"age of an event":                                          {hours(retry.MaxAge)},
		"storing an event":                                         {seconds(publishLimit)},
		"events of one request that are stored all or none":        {fmt.Sprintf("%d events", batchMost), mib(batchSize)},
		"storing a large body":                                     {seconds(bodyLimit)},
		"FUNKER_EVENTS":                                            {days(eventsMaxAge), gib(eventsMost)},
		"FUNKER_RETRY: retries and replays":                        {days(retryMaxAge)},
		"FUNKER_DEAD: dead letters":                                {days(deadMaxAge)},
		"FUNKER_CALLS":                                             {hours(callsMaxAge), mib(callsMaxBytes)},
		"FUNKER_LOG":                                               {days(logMaxAge), gib(logMaxBytes)},
		"`funker-bodies`, the large bodies":                        {"a quarter of FUNKER_EVENTS, at least " + mib(bodiesMaxBytes(0))},
		"the reserve of the disk":                                  {mib(reserveMost)},
		"search for repeats":                                       {minutes(duplicateWindow)},
		"reason of a failed attempt":                               {fmt.Sprintf("%d bytes", maxErrorText)},
	} {
		for _, v := range values {
			if !strings.Contains(limits[what], " "+v) {
				t.Errorf("%s: the page says %q, and the program %s", what, limits[what], v)
			}
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d s", d/time.Second) }
func minutes(d time.Duration) string { return fmt.Sprintf("%d minutes", d/time.Minute) }
func hours(d time.Duration) string   { return fmt.Sprintf("%d hours", d/time.Hour) }
func days(d time.Duration) string    { return fmt.Sprintf("%d days", d/(24*time.Hour)) }
func gib(n int64) string             { return fmt.Sprintf("%d GiB", n>>30) }
func mib(n int64) string             { return fmt.Sprintf("%d MiB", n>>20) }
