package deploy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// trigger makes one of any kind.
func (g generator) trigger(i int, functions []*deploy.Function) *deploy.Trigger {
	t := &deploy.Trigger{Config: trigger.Config{Kind: pick(g, trigger.Kinds()...)}, Name: fmt.Sprintf("Acme_%d.x", i)}
	t.Path = "/" + t.Kind + "/" + t.Name
	if t.Kind == trigger.Alexa || g.coin() {
		t.Path = fmt.Sprintf("/~hooks/Acme-%d", i)
	}
	if t.Kind == trigger.Alexa {
		g.alexa(t, functions)
		return t
	}
	t.Insecure = g.coin()
	if !t.Insecure && t.Kind != trigger.SNS {
		t.Secrets = g.secrets(t.Kind)
	}
	switch t.Kind {
	case trigger.GitLab:
		g.gitLab(t)
	case trigger.StandardWebhooks:
		t.Dedupe = pick(g, "", "id", "body", "/data/id", "/a~1b/0")
	case trigger.CloudEvents:
		t.Batched = g.coin()
		t.Origins = some(g, "eventgrid.azure.net", "emitter.example.org")
	case trigger.Webhook:
		g.webhook(t)
	case trigger.SNS:
		g.sns(t)
	case trigger.EventBridge:
		g.credentials(t)
		g.records(t)
	case trigger.Firehose, trigger.MinIO, trigger.RustFS:
		g.records(t)
	}
	for _, f := range functions[:1+g.IntN(len(functions))] {
		t.Routes = append(t.Routes, deploy.Route{Function: f.Name, Filter: g.filter(t)})
	}
	return t
}

func (g generator) alexa(t *deploy.Trigger, functions []*deploy.Function) {
	t.Function, t.Apology, t.Timeout = g.one(functions), g.text(100)+"!", g.duration(7*time.Second)
	t.Intents = map[string]string{"AMAZON.HelpIntent": g.one(functions), g.text(10) + "Intent": g.one(functions)}
	t.SkillIDs = []string{"amzn1.ask.skill.1", "amzn1.ask.skill.2"}[:1+g.IntN(2)]
	switch g.IntN(3) {
	case 0:
		t.IDOnly = true
	case 1:
		t.Insecure = true
	default:
		t.TestSecrets = g.secrets(t.Kind)
	}
}

func (g generator) gitLab(t *deploy.Trigger) {
	if t.Insecure || g.coin() {
		return
	}
	t.SigningSecrets = []trigger.Secret{g.key(32)}
	if g.coin() {
		t.Secrets = nil
	}
}

// credentials are a way in which one of the secrets is sent.
func (g generator) credentials(t *deploy.Trigger) {
	if t.Insecure {
		return
	}
	switch t.Auth = pick(g, "", trigger.AuthBearer, trigger.AuthBasic, trigger.AuthAPIKey); t.Auth {
	case trigger.AuthBasic:
		t.User = strings.ReplaceAll(g.text(9), ":", "") + "u"
	case trigger.AuthAPIKey:
		t.Header = pick(g, "X-Key", "x_key.2")
	}
}

func (g generator) webhook(t *deploy.Trigger) {
	t.IDFrom = pick(g, "", "/id", "/a/0/~0~1")
	t.EventFrom = pick(g, "", "/type", "X-Event")
	if t.Insecure || g.coin() {
		g.credentials(t)
		return
	}
	t.HMAC = trigger.HMAC{
		Header: "X-Sig", Algorithm: pick(g, append(trigger.HMACAlgorithms(), "")...), Encoding: pick(g, append(trigger.HMACEncodings(), "")...),
		Prefix: pick(g, "", g.text(9)+"="), Template: pick(g, "", "{body}", "{header:X-Id}:{body}", "{timestamp:X-Time}.{body}"),
	}
	switch {
	case strings.Contains(t.HMAC.Template, "timestamp"):
		t.HMAC.Tolerance, t.IDFrom = g.duration(time.Hour), pick(g, t.IDFrom, "X-Id")
	case strings.Contains(t.HMAC.Template, "X-Id"):
		t.IDFrom = pick(g, t.IDFrom, "X-Id")
	}
}

func (g generator) sns(t *deploy.Trigger) {
	t.Topics, t.RequireSHA256, t.RawDelivery, t.Split = []string{topic, topic + "-2.fifo"}[:1+g.IntN(2)], g.coin(), g.coin(), g.coin()
	if t.Insecure && g.coin() {
		t.Topics = nil
	}
	if !t.RawDelivery {
		t.Payload = pick(g, "", trigger.PayloadLambda, trigger.PayloadMessage, trigger.PayloadRaw)
	}
	if t.Insecure {
		return
	}
	if t.RawDelivery {
		t.User, t.Secrets = "sns", g.secrets(t.Kind)
	}
	if g.coin() {
		t.TestSecrets = g.secrets(t.Kind)
	}
}

func (g generator) records(t *deploy.Trigger) {
	t.Payload, t.Split = pick(g, "", trigger.PayloadLambda, trigger.PayloadRaw), g.coin()
}

// events are names that events of the kind can have.
func (g generator) events(kind string) []string {
	free := strings.ReplaceAll(g.text(9), "*", "") + "!"
	switch kind {
	case trigger.GitHub:
		return some(g, "push", "pull_request")
	case trigger.GitLab:
		return some(g, "Push Hook", free+" Hook")
	case trigger.Bitbucket:
		return some(g, "repo:push", "pr:"+free)
	case trigger.MinIO, trigger.RustFS:
		return some(g, "s3:ObjectCreated:Put", "s3:"+free)
	default:
		return some(g, "Object Created", "/lamp", "invoice.paid", free)
	}
}

// filter has what the kind can be asked for.
func (g generator) filter(t *deploy.Trigger) (f deploy.Filter) {
	if nameless := t.Kind == trigger.Firehose && !t.Split || t.Kind == trigger.Webhook && t.EventFrom == ""; !nameless {
		f.Events = g.events(t.Kind)
	}
	switch t.Kind {
	case trigger.GitHub, trigger.GitLab, trigger.Gitea, trigger.Forgejo, trigger.Bitbucket:
		f.Repositories, f.Branches = some(g, "acme/*", "**/site"), some(g, "main", "release/**")
	case trigger.SNS, trigger.EventBridge, trigger.MinIO, trigger.RustFS:
		f.Buckets, f.Keys = some(g, "photos", "logs-*"), some(g, "uploads/", "**.jpg")
	}
	if g.coin() {
		f.If = "event != " + strconv.Quote(g.text(10)) + " || body.n == 1"
	}
	return f
}

// pick is one of some values.
func pick[T any](g generator, values ...T) T { return rapid.SampledFrom(values).Draw(g.T, "one") }

// some are the first of some values; nil when there are none.
func some(g generator, values ...string) []string {
	return append([]string(nil), values[:g.IntN(len(values)+1)]...)
}

// secrets are one or two that are fit for a kind, with their files.
func (g generator) secrets(kind string) []trigger.Secret {
	var all []trigger.Secret
	for range 1 + g.IntN(2) {
		if kind == trigger.StandardWebhooks {
			all = append(all, g.key(24+g.IntN(41)))
		} else {
			all = append(all, g.write(g.text(20)+"x"))
		}
	}
	return all
}

func (g generator) key(size int) trigger.Secret {
	key := rapid.SliceOfN(rapid.Byte(), size, size).Draw(g.T, "key")
	return g.write("whsec_" + base64.StdEncoding.EncodeToString(key))
}

func (g generator) write(secret string) trigger.Secret {
	if err := os.WriteFile(filepath.Join(g.dir, fileOf(trigger.Secret(secret))), []byte(secret+"\r\n"), 0o600); err != nil {
		g.Fatal(err)
	}
	return trigger.Secret(secret)
}

// fileOf names the file of a secret.
func fileOf(secret trigger.Secret) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:8])
}

// with adds a key, unless its value says nothing.
func (n node) with(key string, value any) node {
	if v := reflect.ValueOf(value); !v.IsValid() || v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return n
	}
	return append(n, pair{key, value})
}

func triggerNode(t *deploy.Trigger, dir string) node {
	files := func(secrets []trigger.Secret) (all []any) {
		for _, s := range secrets {
			all = append(all, filepath.Join(dir, fileOf(s)))
		}
		return all
	}
	n := node{}.with("test-secret-file", files(t.TestSecrets)).with("secret-file", files(t.Secrets)).with("signing-secret-file", files(t.SigningSecrets))
	if t.Path != "/"+t.Kind+"/"+t.Name {
		n = n.with("path", t.Path)
	}
	if t.Kind == trigger.Alexa {
		n = append(n, pair{t.Kind, list(t.SkillIDs)}).with("name", t.Name).with("intents", mapNode(t.Intents)).
			with("apology", t.Apology).with("timeout", t.Timeout.String()).with("function", t.Function)
		if t.IDOnly {
			n = n.with("verify", "id-only")
		}
	} else {
		n = n.with(t.Kind, t.Name)
	}
	n = n.with("insecure", t.Insecure).with("dedupe", t.Dedupe).with("batch", t.Batched).with("origins", list(t.Origins)).
		with("auth", t.Auth).with("user", t.User).with("header", t.Header).with("id", t.IDFrom).with("event", t.EventFrom).
		with("topics", list(t.Topics)).with("require-sha256", t.RequireSHA256).with("raw-delivery", t.RawDelivery).
		with("payload", t.Payload).with("split", t.Split)
	if t.HMAC != (trigger.HMAC{}) {
		n = n.with("hmac", hmacNode(t.HMAC))
	}
	if len(t.Routes) == 1 {
		return append(n, routeNode(t.Routes[0])...)
	}
	var routes []any
	for _, r := range t.Routes {
		routes = append(routes, routeNode(r))
	}
	return n.with("routes", routes)
}

func hmacNode(c trigger.HMAC) node {
	n := node{}.with("header", c.Header).with("algorithm", c.Algorithm).with("encoding", c.Encoding).with("prefix", c.Prefix).with("template", c.Template)
	if c.Tolerance == 0 {
		return n
	}
	return n.with("tolerance", c.Tolerance.String())
}

func routeNode(r deploy.Route) node {
	return node{}.with("function", r.Function).with("events", list(r.Filter.Events)).with("if", r.Filter.If).
		with("repositories", list(r.Filter.Repositories)).with("branches", list(r.Filter.Branches)).
		with("buckets", list(r.Filter.Buckets)).with("keys", list(r.Filter.Keys))
}
