package trigger

import "embed"

//go:embed ready
var readyFiles embed.FS

// Ready is a body that a sender could send, for people to choose, edit and send.
type Ready struct {
	Title string // what it is, such as "A push of two commits"
	Body  []byte // to be completed by Fill
}

// readyTitles are those of the samples.
var readyTitles = map[string]string{
	Alexa: "The intent HelloIntent", GitHub: "A push of two commits", GitLab: "A push", Gitea: "A push", Forgejo: "A push", Bitbucket: "A push",
	SNS: "S3: an object was uploaded", EventBridge: "S3: an object was created", Firehose: "A batch of two records", MinIO: "An object was uploaded", RustFS: "An object was uploaded",
	StandardWebhooks: "A lamp was lit", Stripe: "A checkout was paid", Slack: "Somebody mentions the app", CloudEvents: "An order, in binary mode", Webhook: "A lamp was lit",
}

// moreReady are bodies besides the sample, by kind.
var moreReady = map[string][]struct{ title, file string }{
	Alexa:       {{"The skill is opened (LaunchRequest)", "alexa-launch.json"}},
	GitHub:      {{"A ping, as for a new webhook", "github-ping.json"}},
	SNS:         {{"CloudWatch: an alarm", "sns-alarm.json"}},
	EventBridge: {{"CloudWatch: an alarm", "eventbridge-alarm.json"}},
	Slack:       {{"The slash command /lamp on", "slack-command.txt"}, {"The challenge, as for a new URL", "slack-challenge.json"}},
	CloudEvents: {{"An order, in structured mode", "cloudevents-structured.json"}},
}

// ReadyFor returns what the trigger of cfg could get, the sample first; none for a
// kind that does not exist.
func ReadyFor(cfg Config) []Ready {
	sample := Template(cfg)
	if sample == nil {
		return nil
	}
	all := []Ready{{readyTitles[cfg.Kind], sample}}
	for _, more := range moreReady[cfg.Kind] {
		body, err := readyFiles.ReadFile("ready/" + more.file)
		if err != nil {
			continue // TestReadyFor_IsAccepted finds it
		}
		if m, err := readSNS(body); cfg.RawDelivery && err == nil {
			body = []byte(m.message)
		}
		all = append(all, Ready{more.title, body})
	}
	return all
}
