package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const alexaCertURL = "https://s3.amazonaws.com/echo.api/cert.pem"

// published is the manifest with an alexa trigger that checks certificates.
func published(g *gateway, change ...func(*trigger.Config)) {
	m := manifest()
	m.Triggers[0].IDOnly = false
	for _, f := range change {
		f(&m.Triggers[0].Config)
	}
	g.catalog.Set(m)
}

// timed is voice with a timestamp.
func timed(kind, intent string, at time.Time) string {
	return strings.Replace(voice(kind, intent), `"requestId"`, fmt.Sprintf(`"timestamp":%q,"requestId"`, at.UTC().Format(time.RFC3339)), 1)
}

// speak sends a request that Amazon has signed, with other headers as in header.
func (g *gateway) speak(t *testing.T, body string, header ...string) answer {
	t.Helper()
	h := http.Header{"Content-Type": {"application/json;charset=UTF-8"}}
	h.Set("SignatureCertChainUrl", alexaCertURL)
	h.Set("Signature-256", signedByAmazon(t, body))
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return g.do("POST", "/alexa", h, strings.NewReader(body))
}

func serveCertificate(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, ".pem") || strings.Contains(r.URL.Path, "none") {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(certificatePEM())
}

func TestAlexa_IsBelievedByAmazonsCertificate(t *testing.T) {
	g := start(t, instead(serveTLS(t, serveCertificate), "s3.amazonaws.com"))
	published(g)
	now := time.Now()
	g.speak(t, timed("IntentRequest", "HelloIntent", now)).want(t, 200, voiced("HelloIntent"))
	g.speak(t, timed("AlexaSkillEvent.SkillEnabled", "", now.Add(-50*time.Minute))).want(t, 200, string(alexaSilence))
	body := timed("IntentRequest", "HelloIntent", now)
	for _, c := range []struct {
		code   string
		header []string
		body   string
	}{
		{"unsigned", []string{"Signature-256", ""}, body}, {"unsigned", []string{"SignatureCertChainUrl", ""}, body},
		{"forged", []string{"Signature-256", "AAAA"}, body}, {"forged", []string{"SignatureCertChainUrl", "https://example.org/echo.api/cert.pem"}, body},
		{"certificate_unavailable", []string{"SignatureCertChainUrl", "https://s3.amazonaws.com/echo.api/none.pem"}, body},
		{"stale", nil, timed("IntentRequest", "HelloIntent", now.Add(-3*time.Minute))}, {"malformed", nil, voice("LaunchRequest", "")},
		{"wrong_skill", nil, strings.ReplaceAll(body, trigger.SampleSkillID, "amzn1.ask.skill.other")},
		{"forged", []string{"Funker-Test-Signature", "sha256=" + strings.Repeat("0", 64), "Signature-256", "AAAA"}, body},
	} {
		a := g.speak(t, c.body, c.header...)
		a.refused(t, 400, c.code)
		a.header(t, "Retry-After", "")
	}
	line := g.log.String()
	if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "status 404") || strings.Contains(line, "none.pem") {
		t.Errorf("the log does not say why the certificate could not be had:\n%s", line)
	}
	if e := g.event(); e.Function != "HelloIntent" {
		t.Errorf("ran %s", e.Function)
	}
	g.idle()
}

func TestAlexa_KeepsTheCertificateWhenTheManifestChangesElsewhere(t *testing.T) {
	var mu sync.Mutex
	fetched := 0
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fetched++
		serveCertificate(w, r)
	})
	g := start(t, instead(s, "s3.amazonaws.com"))
	for i := range 3 {
		published(g)
		g.speak(t, timed("LaunchRequest", "", time.Now())).want(t, 200, voiced("LaunchRequest"))
		if i == 2 {
			published(g, func(c *trigger.Config) { c.SkillIDs = append(c.SkillIDs, "another") })
			g.speak(t, timed("LaunchRequest", "", time.Now())).want(t, 200, voiced("LaunchRequest"))
		}
	}
	if fetched != 2 {
		t.Errorf("the certificate was fetched %d times, want 2", fetched)
	}
}

func TestAlexa_IsAnsweredInTimeWhenTheCertificateIsSlow(t *testing.T) {
	s := serveTLS(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g := start(t, instead(s, "s3.amazonaws.com"))
	published(g)
	begun := time.Now()
	g.speak(t, timed("LaunchRequest", "", begun)).refused(t, 400, "certificate_unavailable")
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("after %s", d)
	}
}

// The time that the certificate takes is the function's.
func TestAlexa_HearsAnApologyInTimeWhenTheFunctionHangs(t *testing.T) {
	work(t, "Nobody", 1, beLate)
	const wait, limit = 2 * time.Second, 2500 * time.Millisecond
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(wait)
		serveCertificate(w, r)
	})
	g := start(t, instead(s, "s3.amazonaws.com"))
	m := manifest()
	m.Triggers[0].IDOnly, m.Triggers[0].Timeout = false, limit
	g.catalog.Set(m)
	begun := time.Now()
	a := g.speak(t, timed("IntentRequest", "NobodyIntent", begun))
	a.want(t, 200, spoken)
	a.header(t, "Funker-Error", queue.CodeTimeout)
	if d := time.Since(begun); d < wait || d > limit+wait {
		t.Errorf("after %s, want %s", d, limit)
	}
}

func TestAlexa_RequestThatIsRepeatedGetsTheFirstAnswer(t *testing.T) {
	g := start(t)
	body := voice("IntentRequest", "HelloIntent")
	first := g.alexa(body)
	e := g.event()
	for range 3 {
		a := g.alexa(body)
		a.want(t, 200, first.body)
		a.header(t, "Funker-Event-Id", e.ID)
		a.header(t, "Funker-Repeat", "true")
	}
	broken := voice("IntentRequest", "BrokenIntent")
	for range 2 {
		a := g.alexa(broken)
		a.want(t, 200, spoken)
		a.header(t, "Funker-Error", queue.CodeFunctionFailed)
	}
	g.alexa(voice("IntentRequest", "HelloIntent")).header(t, "Funker-Repeat", "")
	g.event()
	edited := g.alexa(strings.Replace(body, "HelloIntent", "LaunchRequest", 1)) // nothing signs the id here
	edited.want(t, 200, voiced("LaunchRequest"))
	edited.header(t, "Funker-Repeat", "")
	g.event()
	g.idle()
}

func TestAlexa_RepeatIsKnownByTheIDThatAmazonSigns(t *testing.T) {
	g := start(t, instead(serveTLS(t, serveCertificate), "s3.amazonaws.com"))
	published(g)
	body := timed("IntentRequest", "HelloIntent", time.Now())
	g.speak(t, body).want(t, 200, voiced("HelloIntent"))
	again := g.speak(t, strings.Replace(body, `"version":"1.0"`, `"version":"1.0","attempt":2`, 1))
	again.want(t, 200, voiced("HelloIntent"))
	again.header(t, "Funker-Repeat", "true")
	g.event()
	g.idle()
}

// Also when the client of the first one has gone, as it does when a connection breaks.
func TestAlexa_RepeatWaitsForTheFirstOne(t *testing.T) {
	begun, release := make(chan struct{}, 9), make(chan struct{})
	work(t, "Nobody", 4, func(*queue.Event) queue.Result {
		begun <- struct{}{}
		<-release
		return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(voiced("somebody"))}
	})
	free := sync.OnceFunc(func() { close(release) })
	g := start(t)
	t.Cleanup(free)
	body := voice("IntentRequest", "NobodyIntent")
	ctx, hangUp := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", g.URL+"/alexa", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if res, err := g.Client().Do(r); err == nil {
			res.Body.Close()
			t.Error("the first one was answered")
		}
	})
	<-begun
	hangUp()
	wg.Wait()
	for range 3 {
		wg.Go(func() {
			a := g.alexa(body)
			a.want(t, 200, voiced("somebody"))
			a.header(t, "Funker-Repeat", "true")
		})
	}
	g.within("the repeats are here", func() bool { return g.server.places.taken.Load() == 4 })
	free()
	wg.Wait()
	if len(begun) > 0 {
		t.Error("the function ran again")
	}
}

func TestAlexa_IsNotGivenAReplyThatItWouldRefuse(t *testing.T) {
	var reply string
	work(t, "Nobody", 1, func(*queue.Event) queue.Result { return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(reply)} })
	g := start(t)
	m := manifest()
	m.Triggers[0].Function = "Nobody"
	g.catalog.Set(m)
	speech := func(bytes int) string {
		const frame = `{"version":"1.0","response":{"outputSpeech":{"type":"PlainText","text":""}}}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("x", bytes-len(frame))+`"`, 1)
	}
	const music = `{"version":"1.0","response":{"directives":[{"type":"AudioPlayer.Stop"}],"outputSpeech":null}}`
	for _, c := range []struct{ kind, reply, code string }{
		{"LaunchRequest.X", speech(100), ""}, {"LaunchRequest.X", `{"version":"1.0","response":{}}`, ""}, {"LaunchRequest.X", ` {"version":"1.0","sessionAttributes":{},"response":{"shouldEndSession":true}}`, ""},
		{"LaunchRequest.X", speech(largeAlexaReply + 1), ""}, {"LaunchRequest.X", speech(maxAlexaReply), ""}, {"LaunchRequest.X", speech(maxAlexaReply + 1), queue.CodeReplyTooLarge},
		{"LaunchRequest.X", `"hello"`, queue.CodeBadReply}, {"LaunchRequest.X", `null`, queue.CodeBadReply}, {"LaunchRequest.X", `[]`, queue.CodeBadReply}, {"LaunchRequest.X", `{}`, queue.CodeBadReply},
		{"LaunchRequest.X", `{"version":"1.0"}`, queue.CodeBadReply}, {"LaunchRequest.X", `{"version":"1.0","response":null}`, queue.CodeBadReply}, {"LaunchRequest.X", `{"version":"1.0","response":"hi"}`, queue.CodeBadReply},
		{"LaunchRequest.X", `{"response":{}}`, queue.CodeBadReply}, {"LaunchRequest.X", `{"version":1,"response":{}}`, queue.CodeBadReply}, {"LaunchRequest.X", `{"Version":"1.0","Response":{}}`, queue.CodeBadReply},
		{"AudioPlayer.PlaybackFinished", music, ""}, {"PlaybackController.PlayCommandIssued", music, ""},
		{"AudioPlayer.PlaybackFinished", speech(100), queue.CodeBadReply}, {"PlaybackController.PlayCommandIssued", `{"version":"1.0","response":{"card":{}}}`, queue.CodeBadReply},
		{"PlaybackController.PlayCommandIssued", `{"version":"1.0","response":{"reprompt":{}}}`, queue.CodeBadReply},
	} {
		reply = c.reply
		a := g.alexa(voice(c.kind, ""))
		a.header(t, "Funker-Error", c.code)
		switch {
		case c.code == "":
			a.want(t, 200, c.reply)
		case c.kind == "LaunchRequest.X":
			a.want(t, 200, spoken)
		default:
			a.want(t, 200, string(alexaSilence))
		}
	}
	lines := g.log.String()
	if strings.Count(lines, "larger than Alexa may take") != 2 || !strings.Contains(lines, `the reply has no \"version\"`) {
		t.Errorf("the log does not say what is wrong:\n%s", lines)
	}
}

func TestAlexa_WarnsWhenASessionEndsWithAnError(t *testing.T) {
	g := start(t)
	body := strings.Replace(voice("SessionEndedRequest", ""), `"requestId"`, `"reason":"ERROR","error":{"type":"INVALID_RESPONSE","message":"x"},"requestId"`, 1)
	g.alexa(body).want(t, 200, string(alexaSilence))
	if lines := g.log.String(); !strings.Contains(lines, "level=WARN") || !strings.Contains(lines, "INVALID_RESPONSE") {
		t.Errorf("got %s", lines)
	}
	g.event()
}

func TestRepeats_AreBoundedInNumberBytesAndTime(t *testing.T) {
	r, now := &repeats{}, time.Now()
	say := func(key string, at time.Time, bytes int) (ran bool) {
		_, repeat, ok := r.first(t.Context(), key, at, func() said { return said{reply: make([]byte, bytes)} })
		if !ok {
			t.Fatal("no answer")
		}
		return !repeat
	}
	for i := range 3 * maxRepeats {
		if !say(fmt.Sprint(i), now, 1) {
			t.Fatalf("%d is taken for a repeat", i)
		}
	}
	if len(r.known) != maxRepeats || len(r.ended) != maxRepeats || say(fmt.Sprint(3*maxRepeats-1), now, 1) {
		t.Errorf("%d answers are kept", len(r.known))
	}
	for i := range 100 {
		say(fmt.Sprint("large", i), now, 1<<20)
	}
	if r.bytes > maxRepeatBytes || len(r.known) > 8 || say("large99", now, 1) {
		t.Errorf("%d answers with %d bytes are kept", len(r.known), r.bytes)
	}
	if say("large99", now.Add(repeatTime), 1) || !say("large99", now.Add(repeatTime+time.Second), 1) {
		t.Error("it is kept for another time than five minutes")
	}
	if len(r.known) != 1 || r.bytes != len("large99")+1 {
		t.Errorf("%d answers with %d bytes are kept at the end", len(r.known), r.bytes)
	}
}

func TestRepeats_OfOneThatBreaksRunAgain(t *testing.T) {
	r := &repeats{}
	func() {
		defer func() { _ = recover() }()
		r.first(t.Context(), "a", time.Now(), func() said { panic("it broke") })
	}()
	if _, repeat, ok := r.first(t.Context(), "a", time.Now(), func() said { return said{} }); repeat || !ok {
		t.Errorf("repeat %v, ok %v", repeat, ok)
	}
	blocked, ready := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		r.first(t.Context(), "b", time.Now(), func() said { close(ready); <-blocked; return said{} })
	})
	<-ready
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	if _, repeat, ok := r.first(ctx, "b", time.Now(), nil); !repeat || ok {
		t.Errorf("repeat %v, ok %v", repeat, ok)
	}
	close(blocked)
	wg.Wait()
}
