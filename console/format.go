package console

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// templateFunctions are those that the templates call.
var templateFunctions = template.FuncMap{
	"utc": utc, "iso": iso, "ago": ago, "coarse": coarse, "took": took, "bytes": sizeText, "count": countText[int], "count64": countText[int64], "lastError": lastError, "reasons": reasonsText[string, uint64],
	"join":      strings.Join,
	"eventPath": eventPath, "recordPath": recordPath, "letterPath": letterPath,
}

// utc writes a time as the tables have it.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// iso writes it for programs, in full.
func iso(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ago is how long ago a time was, in its largest unit.
func ago(t time.Time) string { return coarse(time.Since(t)) + " ago" }

func coarse(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// took writes how long something took, to three digits.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// sizeText writes a number of bytes.
func sizeText(n int) string {
	switch {
	case n < 1<<10:
		return strconv.Itoa(n) + " B"
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// countText writes a number with its noun: "1 dead letter", "2 dead letters".
func countText[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
