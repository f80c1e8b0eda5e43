package ingress

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// documented returns the limits of the operator's page by what they limit.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 {
			limits[strings.TrimSpace(cells[1])] = cells[2]
		}
	}
	return limits
}

func TestLimits_AreWhatTheOperatorsPageSays(t *testing.T) {
	limits := documented(t)
	for what, values := range map[string][]string{
		"header of a request":                          {fmt.Sprintf("%d KiB", maxHeaderBytes>>10)},
		"time for the header":                          {seconds(readHeaderTimeout)},
		"time for header and body":                     {seconds(readTimeout)},
		"time for the answer, from the header on":      {seconds(writeTimeout)},
		"idle connection":                              {seconds(idleTimeout)},
		"TLS handshake":                                {seconds(readHeaderTimeout)},
		"requests at once on one connection of HTTP/2": {fmt.Sprint(maxStreams)},
	} {
		for _, v := range values {
			if !strings.Contains(limits[what], " "+v) {
				t.Errorf("%s: the page says %q, and the program %s", what, limits[what], v)
			}
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d s", d/time.Second) }
