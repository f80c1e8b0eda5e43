package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// payloadFiles has every file of the folder, and what is delivered of it. SOURCES.txt of each folder says where its files
// are from.
var payloadFiles = map[string]func(b *builder, data string){
	"alexa/LaunchRequest.json":                                   alexaAnswered,
	"alexa/IntentRequest.json":                                   alexaAnswered,
	"alexa/CanFulfillIntentRequest.json":                         alexaAnswered,
	"alexa/AudioPlayer.PlaybackStarted.no-session.json":          alexaAnswered,
	"alexa/PlaybackController.NextCommandIssued.no-session.json": alexaAnswered,
	"alexa/System.ExceptionEncountered.no-session.json":          alexaAnswered,
	"alexa/SessionEndedRequest.json":                             alexaUnheard,
	"alexa/AlexaSkillEvent.SkillDisabled.no-session.json":        alexaUnheard,
	"alexa/response-speech.json":                                 alexaReplied,
	"alexa/response-empty.json":                                  alexaReplied,
	"alexa/cert-url-cases.json":                                  alexaCertificateURLs,
	"alexa/real-chain-echo-api-12.json":                          alexaRealChain,
	"alexa/signature-vectors.json":                               alexaVectors,

	"bitbucket/cloud-repo-push.json":          bitbucketEvent("repo:push"),
	"bitbucket/server-repo-refs-changed.json": bitbucketEvent("repo:refs_changed"),
	"bitbucket/signature-vectors.json":        bitbucketVectors,

	"cloudevents/structured.json":        cloudEventStructured,
	"cloudevents/batch.json":             cloudEventBatch,
	"cloudevents/binary-exchange.json":   cloudEventBinary,
	"cloudevents/webhook-handshake.json": cloudEventHandshake,

	"cloudwatch/cloudwatch-alarm-sns-payload-single-metric.json": cloudWatchAlarm,
	"cloudwatch/cloudwatch-logs-event.json":                      cloudWatchLogs,

	"dynamodb/dynamodb-event.json": lambdaForwarder,

	"eventbridge/s3-object-created.json":                       eventBridgeEvent,
	"eventbridge/s3-object-deleted.json":                       eventBridgeEvent,
	"eventbridge/cloudwatch-alarm-state-change-1.json":         eventBridgeEvent,
	"eventbridge/cloudwatch-alarm-state-change-4.json":         eventBridgeEvent,
	"eventbridge/cloudwatch-alarm-configuration-change-1.json": eventBridgeEvent,
	"eventbridge/cloudwatch-alarm-configuration-change-4.json": eventBridgeEvent,
	"eventbridge/pipes-dynamodb-batch.json":                    eventBridgePipes,

	"firehose/request-plain.json":            firehoseBatch(`"hello"`, `"hello world"`),
	"firehose/request-cloudwatch-logs.json":  firehoseLogs,
	"firehose/request-dynamodb-kinesis.json": firehoseChanges,
	"firehose/http-exchange.json":            firehoseExchange,

	"gitea/push-event.json":         giteaEvent("push"),
	"gitea/pull-request-event.json": giteaEvent("pull_request"),
	"gitea/signature-vectors.json":  giteaVectors,

	"github/push.payload.json":             gitHubEvent,
	"github/create.payload.json":           gitHubEvent,
	"github/check_run.completed.json":      gitHubEvent,
	"github/issue_comment.created.json":    gitHubEvent,
	"github/issues.opened.json":            gitHubEvent,
	"github/pull_request.opened.json":      gitHubEvent,
	"github/pull_request.synchronize.json": gitHubEvent,
	"github/release.published.json":        gitHubEvent,
	"github/star.created.json":             gitHubEvent,
	"github/workflow_run.completed.json":   gitHubEvent,
	"github/ping.payload.json":             gitHubPing,
	"github/signature-vectors.json":        gitHubVectors,

	"gitlab/push-event.json":          gitLabEvent,
	"gitlab/merge-request-event.json": gitLabEvent,
	"gitlab/pipeline-event.json":      gitLabEvent,
	"gitlab/signature-vectors.json":   gitLabVectors,

	"minio/ObjectCreated-Put.json": minIOEvent,

	"s3/s3-objectcreated-put-v2.1.json": s3Notification,
	"s3/s3-test-event.json":             s3Test,

	"slack/event_callback.json":    slackEvent,
	"slack/url_verification.json":  slackChallenge,
	"slack/signature-vectors.json": slackVectors,

	"sns/doc-Notification.json":             snsDocumented,
	"sns/doc-SubscriptionConfirmation.json": snsDocumented,
	"sns/doc-UnsubscribeConfirmation.json":  snsDocumented,
	"sns/signature-vectors.json":            snsVectors,

	"standard-webhooks/vectors.json": standardVectors,
	"stripe/signature-vectors.json":  stripeVectors,
}

// fileDeliveries are of all files, those of Alexa first: their times are the shortest.
func fileDeliveries(t *testing.T, b *builder) {
	t.Helper()
	dir := os.Getenv("FUNKER_TEST_PAYLOADS")
	if dir == "" {
		t.Log("FUNKER_TEST_PAYLOADS is not set: only samples are sent")
		return
	}
	known := slices.Sorted(maps.Keys(payloadFiles))
	if found := filesBelow(t, dir); !slices.Equal(found, known) {
		t.Fatalf("the folder and the table differ: only the folder has %q, only the table has %q", without(found, known), without(known, found))
	}
	for _, b.file = range known {
		data, err := os.ReadFile(filepath.Join(dir, b.file))
		if err != nil {
			t.Fatal(err)
		}
		before := len(b.all)
		if payloadFiles[b.file](b, string(data)); len(b.all) == before {
			t.Errorf("%s: nothing is delivered", b.file)
		}
	}
}

func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && path.Base(name) != "SOURCES.txt" {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// read parses what a test knows the form of.
func (b *builder) read(data string, v any) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(data), v); err != nil {
		b.t.Fatalf("%s: %v", b.file, err)
	}
}

// written is JSON as our own programs write it.
func (b *builder) written(v any) string {
	b.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		b.t.Fatalf("%s: %v", b.file, err)
	}
	return string(data)
}
