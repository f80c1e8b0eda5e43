package console

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestLimits_AreWhatTheOperatorsPageSays(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 {
			limits[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	for what, want := range map[string]string{
		"session without a request; session in all":                  fmt.Sprintf("%d h; %d h", sessionIdle/time.Hour, sessionLife/time.Hour),
		"sessions at a time":                                         fmt.Sprint(maxSessions),
		"attempts to sign in from one address; in all":               fmt.Sprintf("%d a minute; %d a minute", loginsPerAddress, loginsInAll),
		"addresses that are remembered for that":                     fmt.Sprint(loginAddresses),
		"form of the console; for signing in":                        fmt.Sprintf("%d KiB; %d KiB", maxForm>>10, maxLogin>>10),
		"rows of a page":                                             fmt.Sprint(rowsPerPage),
		"body on the page of an event":                               fmt.Sprintf("%d KiB", maxShown>>10),
		"dead letters that one confirmation covers":                  fmt.Sprint(bulkMost),
		"time for them":                                              fmt.Sprintf("%d s", bulkTime/time.Second),
		"failures that are told one by one":                          fmt.Sprint(shownFailures),
		"body that is edited in the console; through the API":        fmt.Sprintf("%d KiB; %d KiB", maxShown>>10, maxEdit>>10),
		"functions with charts of success and times on the overview": fmt.Sprint(queue.PulseFunctions),
		"viewers of the live overview":                               fmt.Sprint(liveMost),
		"time for the rates on the overview":                         fmt.Sprintf("%d min, or the newest 200,000 events and calls", recentTime/time.Minute),
		"body of a test, over the console and the API":               fmt.Sprintf("%d KiB", maxTestBody>>10),
		"time that the page of a test waits for the first attempt":   fmt.Sprintf("%d s", testPatience/time.Second),
		"form with a manifest: the text and a file of 1 MiB each":    fmt.Sprintf("%d KiB", maxManifestForm>>10),
		"log of a function: lines; text; time for the engine":        fmt.Sprintf("%d; %d KiB; %d s", deploy.LogLines, deploy.LogBytes>>10, deploy.LogTime/time.Second),
		"time for a body":                                            fmt.Sprintf("%.0f s", bodyTime.Seconds()),
	} {
		if limits[what] != want {
			t.Errorf("%s: the page says %q, and the program %s", what, limits[what], want)
		}
	}
}
