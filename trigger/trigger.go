// Package trigger decides whether a request comes from the sender that a
// trigger is configured for, and what happened according to it. It is pure:
// headers, body and time go in, an Event or an *Error comes out; no server, no
// queue, no network.
//
// # What "verified" means
//
// A Verifier that returns no error vouches for this, and for nothing more:
//
//   - alexa: the body is byte for byte what Amazon has signed for a request of
//     Alexa, not long ago, and it names one of the configured skill ids.
//   - alexa with IDOnly: the body names one of the configured skill ids in
//     every place where it names one. Whoever knows the skill id can make such
//     a request: the id is then the password, so errors never show it.
//   - github with a secret: the body is byte for byte what somebody who knows
//     the secret has signed. The headers are not covered by the signature, so
//     the event name and the delivery id are the sender's word only, and there
//     is no time in it: a captured delivery can be sent again.
//   - standard-webhooks, stripe and slack with a secret, gitlab with a signing
//     secret: as with github, but the time is signed too and at most five minutes
//     from now, and so is the id that repeats are found by.
//   - gitlab with a secret only: the sender knows it. Nothing is signed: whoever
//     can read one request can make others.
//   - cloudevents with a secret: whoever sent the request knows the secret, which
//     it sends along. Nothing is signed: all that the event says is the sender's
//     word, or that of whoever is between it and here.
//   - gitea, forgejo and bitbucket with a secret: the same as github. For gitea
//     and forgejo it is the JSON that is signed, also where it came in a form.
//     Bitbucket's diagnostics:ping may come unsigned; nothing is made of it.
//   - webhook with HMAC: somebody who knows the secret has signed the body and the
//     headers of the template, at the time in the template if there is one. Other
//     headers are the sender's word only.
//   - webhook without HMAC: somebody who knows the secret has sent the request.
//   - sns: the body's own fields are what Amazon has signed in the last hour, for
//     one of the configured topics; message attributes are not signed. With
//     RawDelivery a message is what somebody sent who knows user and secret.
//   - alexa and sns with TestSecrets: or somebody who knows one of these.
//   - eventbridge, firehose, minio and rustfs with a secret: who sent the request
//     knows the secret, which is in it. Nothing is signed and there is no time:
//     who sees one request can send others.
//   - Insecure with nothing else configured: only that the body has the shape of
//     the sender's requests.
//
// What is configured is always checked. Insecure permits that nothing is
// configured, it never switches a check off.
//
// Payload makes of the body of a verified request one JSON value that passes
// CheckJSON. A verified request may be a repeat of an earlier one: finding
// repeats is the caller's business, by Event.Identity.
package trigger

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The kinds of sender, for Config.Kind.
const (
	Alexa  = "alexa"
	GitHub = "github"

	StandardWebhooks = "standard-webhooks"
	GitLab           = "gitlab"
	Stripe           = "stripe"
	Slack            = "slack"
	CloudEvents      = "cloudevents"
	Gitea            = "gitea"
	Forgejo          = "forgejo"
	Bitbucket        = "bitbucket"
	Webhook          = "webhook" // any other sender
	SNS              = "sns"
	EventBridge      = "eventbridge"
	Firehose         = "firehose"
	MinIO            = "minio"
	RustFS           = "rustfs"
)

// Request is what a sender sent. A Verifier neither changes nor keeps it.
type Request struct {
	Header http.Header
	Query  url.Values // of the URL
	Body   []byte     // exactly as received: signatures are over these bytes
	Time   time.Time  // when it was received
}

// Event is what a verified request says.
type Event struct {
	// Name is what happened in the sender's words, such as "push" or
	// "IntentRequest". Names that this package has never heard of are fine.
	Name string
	// Intent is the name of Alexa's intent, "" when the request has none.
	Intent string
	// Identity is the same in every repeat of a request, and in no other request:
	// the sender's id where the signature covers it, else what the signature
	// covers. "" when there is neither.
	Identity string
	// Answer says what the sender waits for.
	Answer Answer
	// Reply is the body of the success answer where the sender wants one that it
	// alone understands, such as a challenge sent back: JSON, or text when it is no
	// JSON. nil for the usual one.
	Reply []byte
	// Confirm is a URL that has to be fetched before the request is answered with
	// success, because the sender wants to know that somebody is here. It was
	// found to be the sender's own. "" for most.
	Confirm string
	// Warning is what the operator should hear of, "" for most.
	Warning string
	// Speech says whether Alexa speaks what is in the reply. It is false for
	// requests to which Alexa takes no speech, and for other senders.
	Speech bool
	// Header holds those of the sender's headers that are worth keeping with the
	// event, spelled as the sender documents them. Never a signature or a secret.
	Header map[string]string
	// Form is how Payload makes what a function gets out of the body; "" where the
	// body says it by its content type. What a form needs to know besides the body
	// follows in it after a blank.
	Form string
	// Records are what the request carries, where Config.Split wants an event of
	// each; nil: the whole request is one event.
	Records []Record
}

// Record is one of several things that happened, in one request.
type Record struct {
	Name     string // as in Event
	Identity string // as in Event
	Form     string // as in Event
	Body     []byte // JSON; what a function gets, when Form is ""
}

// Answer is what the sender of an event waits for.
type Answer uint8

// What a sender can wait for.
const (
	AnswerReply   Answer = iota + 1 // the function's reply, in the same request
	AnswerStored                    // the event is stored; the function runs later
	AnswerControl                   // success at once: nothing is stored or run
)

func (a Answer) String() string {
	switch a {
	case AnswerReply:
		return "reply"
	case AnswerStored:
		return "stored"
	case AnswerControl:
		return "control"
	default:
		return fmt.Sprintf("Answer(%d)", uint8(a))
	}
}

// Reason is a stable code for why a request is refused.
type Reason string

// The reasons. Those from unsigned to wrong-topic are about who sent the request,
// unfetched is about neither, the others about what was sent.
const (
	ReasonEmpty       Reason = "empty-body"
	ReasonEncoding    Reason = "not-utf8"
	ReasonSyntax      Reason = "not-json"        // not exactly one JSON value
	ReasonDepth       Reason = "nested-too-deep" // more than MaxDepth levels
	ReasonContentType Reason = "unsupported-content-type"
	ReasonMalformed   Reason = "malformed" // JSON, but not of the sender's shape
	ReasonInflated    Reason = "inflates-too-far"
	ReasonUnsigned    Reason = "unsigned"
	ReasonForged      Reason = "forged"
	ReasonStale       Reason = "stale" // signed too long ago, or in the future
	ReasonWrongSkill  Reason = "wrong-skill"
	ReasonWrongTopic  Reason = "wrong-topic"
	ReasonUnfetched   Reason = "certificate-unavailable" // nobody can say who sent it: try again
)

// Error refuses a request. Detail says what is wrong and, where the sender can
// do something about it, what to do. It holds nothing of the request's content,
// and never a secret, a skill id or the signature that was expected.
type Error struct {
	Reason Reason
	Detail string
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

func refuse(reason Reason, detail string, args ...any) error {
	return &Error{Reason: reason, Detail: fmt.Sprintf(detail, args...)}
}

// A Verifier returns the event of a genuine request, or an error that says why it
// is refused: an *Error or one that wraps it, together with a cause for the log.
// It is safe for concurrent use. The context bounds how long it waits for what it
// fetches; what it began to fetch for several requests goes on.
type Verifier func(context.Context, Request) (Event, error)

// Fetch returns what a GET of a URL brings with status 200. A Verifier asks for
// URLs of the sender's own hosts only, which it has checked, and remembers what
// it got. Fetch follows no redirects and bounds size and time.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// Config says whose requests to accept, and what becomes of them.
type Config struct {
	Kind     string   // one of Kinds
	Secrets  []Secret // keys or tokens, as the kind uses them; each of them is good, so that one can be changed without a gap
	Insecure bool     // accept requests although nothing verifies them

	Auth   string // kinds without a signature: in which way one of Secrets is sent, one of the Auth constants; "": what is usual
	User   string // of AuthBasic
	Header string // of AuthAPIKey

	SkillIDs []string       // Alexa: the skills that may call
	IDOnly   bool           // Alexa: the skill id alone is proof enough
	Roots    *x509.CertPool // Alexa: whom Amazon's certificates have to lead to; nil: the roots of the system

	SigningSecrets []Secret // GitLab: signing tokens, whsec_ and base64; each is good. Secrets are its plain tokens
	Dedupe         string   // Standard Webhooks: what repeats are found by: DedupeID (also ""), DedupeBody, or a JSON pointer to a string or number
	Batched        bool     // CloudEvents: take batches too, of which every event is a Record
	Origins        []string // CloudEvents: who may ask to send, see Consent; none: everybody
	HMAC           HMAC     // Webhook: how its requests are signed; the zero value: they are not, Auth holds
	IDFrom         string   // Webhook: where a request has its id, a header or a JSON pointer (see CheckPlace); "": nowhere
	EventFrom      string   // Webhook: where a request has the name of the event, in the same way
	// TestSecrets are for Alexa and SNS: a request with the HMAC of its body by one
	// of them, in the header Funker-Test-Signature, passes for signed by Amazon.
	// Who has one can do what Amazon can.
	TestSecrets []Secret

	Topics        []string // SNS: ARNs of the topics whose messages are taken
	RequireSHA256 bool     // SNS: refuse signatures of version 1 (SHA-1)
	RawDelivery   bool     // SNS: take messages without an envelope, with User and one of Secrets as Basic authentication

	Payload string // SNS, EventBridge, Firehose, MinIO, RustFS: what a function gets, one of the Payload constants; "": PayloadRaw of MinIO and RustFS, else PayloadLambda
	Split   bool   // the same: an event for each record of a request
}

// ErrUnverified is in the error of New when nothing verifies the requests and
// Insecure does not say that this is wanted.
var ErrUnverified = errors.New("nothing verifies its requests")

// New returns the Verifier for cfg and keeps copies of what it needs from cfg.
// fetch gets the certificates that requests name. New fails closed: with
// ErrUnverified, or for a kind that does not exist.
func New(cfg Config, fetch Fetch) (Verifier, error) {
	s, err := senderOf(cfg.Kind)
	if err != nil {
		return nil, err
	}
	verify, err := s.new(cfg.clone(), fetch)
	if err != nil {
		return nil, fmt.Errorf("%s trigger: %w", cfg.Kind, err)
	}
	return verify, nil
}

func (s sender) new(cfg Config, fetch Fetch) (Verifier, error) {
	if slices.ContainsFunc(slices.Concat(cfg.Secrets, cfg.TestSecrets), func(s Secret) bool { return len(s) == 0 }) {
		return nil, fmt.Errorf("%w: a secret is empty", ErrUnverified)
	}
	if s.secret != "" && len(cfg.Secrets) == 0 && !cfg.Insecure {
		return nil, fmt.Errorf("%w: give it %s, or say insecure: true", ErrUnverified, s.secret)
	}
	if _, err := Check(cfg); err != nil {
		return nil, err
	}
	return s.verifier(cfg, fetch)
}

// clone shares nothing with cfg that a Verifier uses.
func (cfg Config) clone() Config {
	for _, secrets := range []*[]Secret{&cfg.Secrets, &cfg.SigningSecrets, &cfg.TestSecrets} {
		*secrets = slices.Clone(*secrets)
		for i, s := range *secrets {
			(*secrets)[i] = slices.Clone(s)
		}
	}
	cfg.SkillIDs, cfg.Topics = slices.Clone(cfg.SkillIDs), slices.Clone(cfg.Topics)
	if cfg.Roots != nil {
		cfg.Roots = cfg.Roots.Clone()
	}
	return cfg
}

// Check returns what is wrong with settings of cfg that belong together, whatever
// its secrets are, and the key of the manifest that they come from: "hmac", "auth",
// "user", "header", "insecure", "id" or "event".
func Check(cfg Config) (key string, err error) {
	switch cfg.Kind {
	case Webhook:
		return checkWebhook(cfg)
	case EventBridge:
		return checkAuth(cfg, eventBridgeAuth)
	default:
		return "", nil
	}
}

// Sign is the counterpart of a Verifier: it returns the headers with which a
// genuine sender would send the JSON body at the time now, with a new delivery
// id. The name of the event is found in the body where that is possible; else
// the caller sets the header NameHeader, which no sender signs.
func Sign(cfg Config, body []byte, now time.Time) (http.Header, error) {
	s, err := senderOf(cfg.Kind)
	if err != nil {
		return nil, err
	}
	var h http.Header
	if _, err = Check(cfg); err == nil {
		h, err = s.sign(cfg, body, now)
	}
	if err != nil {
		return nil, fmt.Errorf("%s trigger: %w", cfg.Kind, err)
	}
	return h, nil
}

// sender is all that this package knows about one kind of sender.
type sender struct {
	kind       string
	verifier   func(Config, Fetch) (Verifier, error)
	sign       func(Config, []byte, time.Time) (http.Header, error)
	sample     string // the name of its sample
	nameHeader string // which header names the event; "" when none does
	secret     string // what Config.Secrets are at the sender, where there is no other proof; "": verifier says what the proof is
}

// senders are all there are.
func senders() []sender {
	return []sender{
		alexaSender(),
		gitHubSender(), gitLabSender(), giteaSender(), forgejoSender(), bitbucketSender(),
		snsSender(), eventBridgeSender(), firehoseSender(), minIOSender(MinIO), minIOSender(RustFS),
		standardSender(), stripeSender(), slackSender(), cloudEventsSender(), webhookSender(),
	}
}

// Kinds are the kinds of senders that there are, sorted.
func Kinds() []string {
	var kinds []string
	for _, s := range senders() {
		kinds = append(kinds, s.kind)
	}
	slices.Sort(kinds)
	return kinds
}

// NameHeader is the header in which the sender of cfg names the event, "" when
// the name is elsewhere or signed.
func NameHeader(cfg Config) string {
	s, err := senderOf(cfg.Kind)
	if err != nil {
		return ""
	}
	if cfg.Kind == Webhook {
		return cfg.eventHeader()
	}
	return s.nameHeader
}

func senderOf(kind string) (sender, error) {
	for _, s := range senders() {
		if s.kind == kind {
			return s, nil
		}
	}
	return sender{}, fmt.Errorf("unknown kind of trigger %q: use one of %s", kind, strings.Join(Kinds(), ", "))
}

// maxName is the limit, in bytes, for names and ids from a request. Senders'
// are below 100; what comes of them ends up in headers, logs and subjects.
const maxName = 512
