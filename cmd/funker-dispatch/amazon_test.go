package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// mute is the address of a function that takes connections and never answers.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestSign_ForTriggersThatOnlyAmazonCalls(t *testing.T) {
	dir := t.TempDir()
	hello, _ := startFunction(t, "hello")
	echo, _ := startFunction(t, "echo")
	write(t, dir, "test", "s3cret-of-the-tests")
	const topic = "arn:aws:sns:eu-central-1:123456789012:uploads"
	manifest := func(test string) string {
		return fmt.Sprintf(`functions: {HelloIntent: {addresses: [%q]}, Silent: {addresses: [%q]}, Resize: {addresses: [%q]}}
triggers:
- {alexa: %s, timeout: 1s, intents: {SilentIntent: Silent}%s}
- {sns: uploads, topics: [%q], split: true, function: Resize%s}
`, hello, mute(t), echo, skill, test, topic, test)
	}
	with, without := write(t, dir, "with.yaml", manifest(", test-secret-file: test")), write(t, dir, "without.yaml", manifest(""))
	g := serve(t, dir, with)

	if got := mustCLI(t, "sign", "alexa", "--send", "--manifest", with, g.public); !strings.Contains(got, "Hello from your own swarm.") {
		t.Errorf("alexa: got %s", got)
	}
	if got := mustCLI(t, "sign", "sns", "--send", "--manifest", with, g.public); !strings.HasPrefix(got, "200 OK\n") || !strings.Contains(got, `"status":"queued"`) {
		t.Errorf("sns: got %s", got)
	}
	for _, kind := range []string{"alexa", "sns"} {
		code, _, stderr := cli(t, "sign", kind, "--manifest", without, g.public)
		if code != exitFailed || !strings.Contains(stderr, "only Amazon can sign for it: add test-secret-file: <file> to the trigger") {
			t.Errorf("%s without a test secret: got %d %s", kind, code, stderr)
		}
	}

	body := fmt.Sprintf(`{"version":"1.0","context":{"System":{"application":{"applicationId":%q}}},"request":{"type":"IntentRequest","requestId":"r1","timestamp":%q,"intent":{"name":"SilentIntent"}}}`,
		skill, time.Now().UTC().Format(time.RFC3339))
	begin := time.Now()
	got := mustCLI(t, "sign", "alexa", "-d", body, "--send", "--manifest", with, g.public)
	if took := time.Since(begin); took > 6*time.Second || !strings.Contains(got, "Funker-Error: timeout") || !strings.Contains(got, "outputSpeech") {
		t.Errorf("a function that hangs: got %s after %s", got, took)
	}
	code, answer, _ := post(t, g.public+"/alexa", body)
	if code != 400 || !strings.Contains(answer, "unsigned") {
		t.Errorf("without a signature: got %d %s", code, answer)
	}
	if code := g.stop(); code != exitOK || strings.Contains(g.log.String(), "s3cret-of-the-tests") {
		t.Errorf("exit code %d: %s", code, g.log)
	}
}
