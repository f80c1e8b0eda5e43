package console

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestLimits_AreWhatTheAPIsPageSays(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, limit := range map[string]string{
		"rows of a page, events of one bulk request": fmt.Sprint(queue.MaxLimit),
		"events of a bulk per second":                fmt.Sprintf("%d by default, at most %d", defaultRate, maxRate),
		"failures that a bulk tells":                 fmt.Sprint(shownFailures),
		"body of a test":                             fmt.Sprintf("%d bytes", maxTestBody),
		"body for a function":                        fmt.Sprintf("%d bytes", maxBody),
		"reply of a function":                        fmt.Sprintf("%.0f s by default, at most %.0f s", defaultCall.Seconds(), queue.MaxCallTime.Seconds()),
		"manifest":                                   fmt.Sprintf("%d bytes", deploy.MaxSize),
		"edited body":                                fmt.Sprintf("%d bytes", maxEdit),
		"readers of the stream":                      fmt.Sprint(maxReaders),
		"reader of the stream that takes nothing":    fmt.Sprintf("%.0f s", readerPatience.Seconds()),
		"stream without news":                        fmt.Sprintf("%.0f s", heartbeat.Seconds()),
	} {
		if row := fmt.Sprintf("\n| %s | %s |", what, limit); !strings.Contains(string(page), row) {
			t.Errorf("the page does not say %q", row)
		}
	}
}
