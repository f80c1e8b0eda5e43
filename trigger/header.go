package trigger

import (
	"net/http"
	"strconv"
	"time"
)

// only returns the value of a header that a genuine request has once; "" when it
// is missing or empty. With two of them, this program and what stands before it
// might each look at another one.
func only(h http.Header, name string) (string, error) {
	switch values := h.Values(name); len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", refuse(ReasonForged, "the header %s is there twice", name)
	}
}

// needed is only for a header of which the proof consists; otherwise says what to do when
// it is missing.
func needed(h http.Header, name, otherwise string) (string, error) {
	value, err := only(h, name)
	if err == nil && value == "" {
		err = refuse(ReasonUnsigned, "the header %s is missing or empty: %s", name, otherwise)
	}
	return value, err
}

// keep returns those of the named headers that are there.
func keep(from http.Header, names []string) (map[string]string, error) {
	kept := make(map[string]string, len(names))
	for _, name := range names {
		value := from.Get(name)
		if !isName(value) {
			return nil, refuse(ReasonMalformed, "the header %s is longer than %d bytes or has control characters", name, maxName)
		}
		if value != "" {
			kept[name] = value
		}
	}
	return kept, nil
}

// wantJSON checks the content type of senders that send nothing but JSON.
func wantJSON(h http.Header) error {
	if isJSON(mediaType(h.Get("Content-Type"))) {
		return nil
	}
	return refuse(ReasonContentType, "the body is not JSON: send it with Content-Type: application/json")
}

// checkSeconds checks a signed time, which is in seconds since 1970.
func checkSeconds(text string, now time.Time) error {
	const bits = 40 // far more than any clock says, and no overflow
	seconds, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return refuse(ReasonForged, "the timestamp is not a whole number of seconds since 1970")
	}
	return checkAge(time.Unix(int64(seconds), 0), now, DefaultTolerance)
}

// checkAge refuses what was signed too far from now, before or after.
func checkAge(signed, now time.Time, tolerance time.Duration) error {
	age, direction := now.Sub(signed), "ago"
	if age < 0 {
		age, direction = age.Abs(), "in the future"
	}
	if age > tolerance {
		return refuse(ReasonStale, "it was signed %s %s, more than %s: check the clocks of both sides", age.Round(time.Second), direction, tolerance)
	}
	return nil
}
