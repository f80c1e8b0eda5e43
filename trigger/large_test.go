package trigger_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// large is the size of bodies of which it matters that they are large.
const large = 4 << 20

// hugePush is a push of so many bytes, as full of names and strings as GitHub's.
func hugePush(size int) []byte {
	b := bytes.NewBufferString(`{"ref":"refs/heads/main","before":"0000","commits":[`)
	for i := 0; b.Len() < size-600; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `{"id":"%040x","tree_id":"%040x","distinct":true,"message":"Fix \"%d\"\nfür alle","timestamp":"2026-11-23T08:41:25Z",`+
			`"url":"https://github.com/acme/site/commit/%040x","author":{"name":"A","email":"a@example.com"},"added":[],"removed":[],"modified":["docs/%d.md"]}`, i, i, i, i, i)
	}
	b.WriteString(`],"pad":"`)
	b.WriteString(strings.Repeat("x", size-b.Len()-2))
	b.WriteString(`"}`)
	return b.Bytes()
}

// largeBodies are as large as a body may be and as costly as they come.
func largeBodies() map[string]struct {
	contentType string
	body        []byte
} {
	type body = struct {
		contentType string
		body        []byte
	}
	const form = "application/x-www-form-urlencoded"
	object := func(s string) []byte { return []byte("{" + s[:min(len(s), large-2)] + "}") }
	return map[string]body{
		"push":          {"application/json", hugePush(large)},
		"form":          {form, []byte("payload=" + url.QueryEscape(string(hugePush(large/2))))},
		"form of pairs": {form, append(bytes.Repeat([]byte("a=b&"), large/4), "payload=%7B%7D"...)},
		"long key":      {"application/json", object(`"` + strings.Repeat(`\u0041`, large/6-2) + `":1`)},
		"many keys":     {"application/json", object(strings.Repeat(`"\u0041":1,`, large/11-1) + `"a":1`)},
		"brackets":      {"application/json", object(`"a":[` + strings.Repeat(`[],`, large/3-4) + `1]`)},
		"deep": {"application/json", object(`"a":[` + strings.Repeat(strings.Repeat("[", trigger.MaxDepth-2)+strings.Repeat("]", trigger.MaxDepth-2)+",",
			large/(2*trigger.MaxDepth)-1) + `1]`)},
	}
}

func signed(t testing.TB, cfg trigger.Config, contentType string, body []byte) (trigger.Verifier, trigger.Request) {
	t.Helper()
	verify, err := trigger.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	header, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	header.Set("Content-Type", contentType)
	header.Set("X-GitHub-Event", "push")
	return verify, trigger.Request{Header: header, Body: body, Time: time.Now()}
}

func TestVerify_LargeBodiesTakeLittleMemory(t *testing.T) {
	cfg := trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte("a secret of the test")}}
	for name, c := range largeBodies() {
		verify, request := signed(t, cfg, c.contentType, c.body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := verify(t.Context(), request)
		payload, bad := trigger.Payload("", c.contentType, c.body)
		kind := trigger.Kind(payload)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err != nil || bad != nil {
			t.Errorf("%s: %v, %v", name, err, bad)
		}
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes in %s, %d bytes allocated, %q", name, len(c.body), took, allocated, kind)
		// Verify and Payload decode a form once each.
		if want := uint64(2*large + 1<<18); allocated > want {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, allocated, want)
		}
	}
}

func TestVerify_AlexaRefusesLargeBodiesWithLittleMemory(t *testing.T) {
	verify, err := trigger.New(trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, IDOnly: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range largeBodies() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := verify(t.Context(), trigger.Request{Header: http.Header{"Content-Type": {c.contentType}}, Body: c.body, Time: time.Now()}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<18 {
			t.Errorf("%s: %d bytes allocated", name, allocated)
		}
	}
}

func TestVerify_LargeBodiesWithoutAnIDTakeLittleMemory(t *testing.T) {
	pad := `"pad":"` + strings.Repeat("x", large) + `"}`
	records := strings.Repeat("{},", large/3) + "{}"
	for name, c := range map[string]struct {
		cfg  trigger.Config
		body string
		want uint64
	}{
		"eventbridge": {trigger.Config{Kind: trigger.EventBridge, Secrets: []trigger.Secret{[]byte("key")}}, "{" + pad, 1 << 18},
		"minio":       {trigger.Config{Kind: trigger.MinIO, Secrets: []trigger.Secret{[]byte("key")}}, `{"EventName":"s3:x","Records":[{}],` + pad, 1 << 18},
		"slack":       {trigger.Config{Kind: trigger.Slack, Secrets: []trigger.Secret{[]byte("key")}}, `{"type":"x",` + pad, 1 << 18},
		// The message is decoded, checked and kept for the function: 33.6 MB, and with the race detector 46.2 MB, as the
		// compiler then makes a copy that it leaves out otherwise.
		"sns": {
			trigger.Config{Kind: trigger.SNS, Insecure: true},
			`{"Type":"Notification","MessageId":"1","TopicArn":"t","Message":"{\"Records\":[` + records + `]}"}`, 12 * large,
		},
	} {
		verify, request := signed(t, c.cfg, "application/json", []byte(c.body))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := verify(t.Context(), request)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; err != nil || allocated > c.want {
			t.Errorf("%s: %d bytes allocated, want at most %d; %v", name, allocated, c.want, err)
		}
	}
}

func BenchmarkLargePush(b *testing.B) {
	body := hugePush(25 << 20) // GitHub sends no larger one
	verify, request := signed(b, trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte("a secret of the benchmark")}}, "application/json", body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verify(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}
