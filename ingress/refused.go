package ingress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

// How many refused requests are remembered. A flood of one kind pushes out only
// its own: the newest few are kept of every source and code.
const (
	samplesPerReason = 5 // of one source with one code
	samplesPerSource = 20
	samplesInAll     = 200
	sampleEvery      = time.Second // of one source with one code, beyond the first samplesPerReason
)

// What a sample may take of memory: some 12 KiB at most.
const (
	maxSampledHeaders = 40
	maxSampledText    = 256 // characters
)

// Refused is a request that was refused: what can be known of it without its
// body, its query, and anything that may be a secret.
type Refused struct {
	Time        time.Time    `json:"time"`
	Source      string       `json:"source"`
	Code        string       `json:"code"`
	Message     string       `json:"message"` // as it was answered
	Status      int          `json:"status"`
	RequestID   string       `json:"request_id"`
	Method      string       `json:"method"`
	Path        string       `json:"path"`
	Remote      string       `json:"remote"` // address of the client, or of a proxy that is not trusted
	ContentType string       `json:"content_type,omitempty"`
	BodyBytes   int64        `json:"body_bytes"` // -1: it was neither announced nor read
	Headers     []HeaderLine `json:"headers"`
	Omitted     int          `json:"headers_omitted,omitempty"`
}

// HeaderLine is one line of a request's header. Value is "(71 bytes)" where it
// may be a secret.
type HeaderLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// harmless are the headers whose values are shown, in the canonical form of
// net/http. All others may be secrets: nobody knows in which header a sender that
// is set up wrongly sends its own.
var harmless = map[string]bool{
	"Accept": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Date": true, "User-Agent": true,
	"Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Proto": true, "X-Real-Ip": true,

	"X-Github-Event": true, "X-Github-Delivery": true, "X-Github-Hook-Id": true,
	"X-Gitlab-Event": true, "X-Gitlab-Event-Uuid": true, "X-Gitlab-Instance": true,
	"X-Gitea-Event": true, "X-Gitea-Delivery": true, "X-Forgejo-Event": true, "X-Forgejo-Delivery": true,
	"X-Event-Key": true, "X-Hook-Uuid": true, "X-Request-Uuid": true,
	"Webhook-Id": true, "Webhook-Timestamp": true,
	"X-Slack-Request-Timestamp": true, "X-Slack-Retry-Num": true, "X-Slack-Retry-Reason": true,
	"X-Amz-Sns-Message-Type": true, "X-Amz-Sns-Message-Id": true, "X-Amz-Sns-Topic-Arn": true, "X-Amz-Sns-Rawdelivery": true,
	"X-Amz-Firehose-Request-Id": true, "X-Amz-Firehose-Protocol-Version": true, "X-Amz-Firehose-Source-Arn": true,
	"Ce-Id": true, "Ce-Source": true, "Ce-Specversion": true, "Ce-Type": true,
	"Signaturecertchainurl": true,
}

// sampleOf says of a refused request what may be shown. Besides the usual,
// the header named secret is not.
func sampleOf(x *exchange, source, secret string) Refused {
	r := Refused{
		Time: x.start, Source: source, Code: x.code, Message: shown(x.message), Status: x.status, RequestID: x.id,
		Method: shown(x.r.Method), Path: shown(x.r.URL.Path), Remote: shown(x.client), ContentType: shown(x.r.Header.Get("Content-Type")),
		BodyBytes: x.size,
	}
	r.Headers, r.Omitted = headerLines(x.r, http.CanonicalHeaderKey(secret))
	return r
}

// headerLines returns the lines of a request's header, sorted by name, and how
// many more there are.
func headerLines(r *http.Request, secret string) (lines []HeaderLine, omitted int) {
	lines = append(lines, HeaderLine{"Host", shown(r.Host)})
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			if len(lines) == maxSampledHeaders {
				omitted++
				continue
			}
			text := fmt.Sprintf("(%d bytes)", len(value))
			if harmless[name] && name != secret {
				text = shown(value)
			}
			lines = append(lines, HeaderLine{shown(name), text})
		}
	}
	return lines, omitted
}

// shown is a text of a client that may go to a terminal: short, and without
// control characters. It keeps nothing else of the request in memory.
func shown(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxSampledText {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

// samples are refused requests, the oldest first.
type samples struct{ all []Refused }

// keep makes room for a sample.
func (s *samples) keep(r Refused) {
	s.room(samplesPerReason, func(o *Refused) bool { return o.Source == r.Source && o.Code == r.Code })
	s.room(samplesPerSource, func(o *Refused) bool { return o.Source == r.Source })
	s.room(samplesInAll, func(*Refused) bool { return true })
	s.all = append(s.all, r)
}

// room removes one of the samples that match when there are as many as the limit:
// the oldest of those with whose source and code there are most.
func (s *samples) room(limit int, match func(*Refused) bool) {
	type group struct{ source, code string }
	sizes := map[group]int{}
	n, most := 0, 0
	for i := range s.all {
		if o := &s.all[i]; match(o) {
			n++
			sizes[group{o.Source, o.Code}]++
			most = max(most, sizes[group{o.Source, o.Code}])
		}
	}
	if n < limit {
		return
	}
	oldest := slices.IndexFunc(s.all, func(o Refused) bool { return match(&o) && sizes[group{o.Source, o.Code}] == most })
	s.all = slices.Delete(s.all, oldest, oldest+1)
}

// forget removes the samples of sources.
func (s *samples) forget(gone func(source string) bool) {
	s.all = slices.DeleteFunc(s.all, func(r Refused) bool { return gone(r.Source) })
}

// of returns the samples of a source, newest first.
func (s *samples) of(source string) (found []Refused) {
	for _, r := range slices.Backward(s.all) {
		if r.Source == source {
			found = append(found, r)
		}
	}
	return found
}
