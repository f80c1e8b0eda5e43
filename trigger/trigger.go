// Package trigger decides whether a request comes from the sender that a
// trigger is configured for, and what happened according to it. It is pure:
// headers, body and time go in, an Event or an *Error comes out; no server, no
// queue, no network.
//
// # What "verified" means
//
// A Verifier that returns no error vouches for this, and for nothing more:
//
//   - alexa with IDOnly: the body names one of the configured skill ids in
//     every place where it names one. Whoever knows the skill id can make such
//     a request: the id is then the password, so errors never show it.
//   - github with a secret: the body is byte for byte what somebody who knows
//     the secret has signed. The headers are not covered by the signature, so
//     the event name and the delivery id are the sender's word only, and there
//     is no time in it: a captured delivery can be sent again.
//   - Insecure with nothing else configured: only that the body has the shape of
//     the sender's requests.
//
// What is configured is always checked. Insecure permits that nothing is
// configured, it never switches a check off.
//
// The body of a verified request is one JSON value that passes CheckJSON, or a
// form whose field payload is one; Payload returns that value. A verified
// request may be a repeat of an earlier one: finding repeats is the caller's
// business, by Event.DeliveryID and by the body.
package trigger

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The kinds of sender, for Config.Kind.
const (
	Alexa  = "alexa"
	GitHub = "github"
)

// Request is what a sender sent. A Verifier neither changes nor keeps it.
type Request struct {
	Header http.Header
	Body   []byte    // exactly as received: signatures are over these bytes
	Time   time.Time // when it was received
}

// Event is what a verified request says.
type Event struct {
	// Name is what happened in the sender's words, such as "push" or
	// "IntentRequest". Names that this package has never heard of are fine.
	Name string
	// Intent is the name of Alexa's intent, "" when the request has none.
	Intent string
	// DeliveryID is the sender's id of this delivery, "" when it has none.
	DeliveryID string
	// Answer says what the sender waits for.
	Answer Answer
	// Speech says whether Alexa speaks what is in the reply. It is false for
	// requests to which Alexa takes no speech, and for other senders.
	Speech bool
	// Header holds those of the sender's headers that are worth keeping with the
	// event, spelled as the sender documents them. Never a signature or a secret.
	Header map[string]string
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

// The reasons. Unsigned, forged and wrong-skill are about who sent the request,
// the others about what was sent.
const (
	ReasonEmpty       Reason = "empty-body"
	ReasonEncoding    Reason = "not-utf8"
	ReasonSyntax      Reason = "not-json"        // not exactly one JSON value
	ReasonDepth       Reason = "nested-too-deep" // more than MaxDepth levels
	ReasonContentType Reason = "unsupported-content-type"
	ReasonMalformed   Reason = "malformed" // JSON, but not of the sender's shape
	ReasonUnsigned    Reason = "unsigned"
	ReasonForged      Reason = "forged"
	ReasonWrongSkill  Reason = "wrong-skill"
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

// A Verifier returns the event of a genuine request, or an *Error that says why
// it is refused. It is safe for concurrent use.
type Verifier func(Request) (Event, error)

// Config says whose requests to accept.
type Config struct {
	Kind     string   // Alexa or GitHub
	SkillIDs []string // Alexa: the skills that may call
	Secret   []byte   // GitHub: the secret of the webhook
	IDOnly   bool     // Alexa: the skill id alone is proof enough
	Insecure bool     // accept requests although nothing verifies them
}

// ErrUnverified is in the error of New when nothing verifies the requests and
// Insecure does not say that this is wanted.
var ErrUnverified = errors.New("nothing verifies its requests")

// New returns the Verifier for cfg and keeps copies of what it needs from cfg.
// It fails closed: with ErrUnverified, or for a kind that does not exist.
func New(cfg Config) (Verifier, error) {
	s, err := senderOf(cfg.Kind)
	if err != nil {
		return nil, err
	}
	verify, err := s.verifier(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s trigger: %w", cfg.Kind, err)
	}
	return verify, nil
}

// Sign is the counterpart of a Verifier: it returns the headers with which a
// genuine sender would send the JSON body at the time now, with a new delivery
// id. GitHub's event name is found in the body of a push or a ping; for other
// events the caller sets X-GitHub-Event, which is not signed.
func Sign(cfg Config, body []byte, now time.Time) (http.Header, error) {
	s, err := senderOf(cfg.Kind)
	if err != nil {
		return nil, err
	}
	return s.sign(cfg, body, now), nil
}

// sender is all that this package knows about one kind of sender.
type sender struct {
	verifier func(Config) (Verifier, error)
	sign     func(Config, []byte, time.Time) http.Header
	sample   sample
}

func senderOf(kind string) (sender, error) {
	switch kind {
	case Alexa:
		return sender{newAlexa, signAlexa, alexaSample}, nil
	case GitHub:
		return sender{newGitHub, signGitHub, gitHubSample}, nil
	default:
		return sender{}, fmt.Errorf("unknown kind of trigger %q: use %q or %q", kind, Alexa, GitHub)
	}
}

// maxName is the limit, in bytes, for names and ids from a request. Senders'
// are below 100; what comes of them ends up in headers, logs and subjects.
const maxName = 512
