// Package deploy says what runs where. Its manifest names the functions and the
// triggers that call them; it is read from functions.yaml or from the older
// services.json, and is refused whole, with every fault and its line.
package deploy

import "time"

// Values that apply where the manifest is silent.
const (
	DefaultTimeout      = 30 * time.Second
	DefaultAlexaTimeout = 6500 * time.Millisecond
	DefaultApology      = "Sorry, I cannot answer that right now. Please try again later."
)

// Manifest is what the operator wrote, with all defaults filled in. A Manifest
// that Parse returned is valid: its names are unique, and every function that a
// trigger names is in Functions. It must not be changed once a Catalog has it.
type Manifest struct {
	Functions []*Function // in the order of the file
	Triggers  []*Trigger  // in the order of the file

	// Warnings are remarks for the operator ("file:line:column: text") on what
	// is allowed and yet probably not meant, such as a trigger left out.
	Warnings []string
}

// Function finds a function by its name.
func (m *Manifest) Function(name string) (*Function, bool) {
	for _, f := range m.Functions {
		if f.Name == name {
			return f, true
		}
	}
	return nil, false
}

// Trigger finds the trigger that listens on path, such as "/github/acme".
func (m *Manifest) Trigger(path string) (*Trigger, bool) {
	for _, t := range m.Triggers {
		if t.Path == path {
			return t, true
		}
	}
	return nil, false
}

// Lifecycle says how many connections a task takes in its life.
type Lifecycle string

// What is known of the tasks of a function.
const (
	LifecycleAuto    Lifecycle = "auto"     // found out by watching
	LifecycleOneShot Lifecycle = "one-shot" // one connection, then it exits and Swarm starts the next
	LifecycleServer  Lifecycle = "server"   // any number of connections
)

// Function is a name that tasks answer to.
//
// Its tasks are found in one of three ways: at Addresses when there are any; as
// the tasks of the service that is deployed from Image; and with neither of
// them by DNS, as "tasks.<name>" and then "<name>".
type Function struct {
	Name string // UTF-8 without control characters; at most 63 bytes once escaped

	Image     string   // "" when the service is somebody else's and is only called
	Addresses []string // "host:port", fixed tasks; never together with Image

	Lifecycle   Lifecycle
	Concurrency int           // connections that one task takes at a time, 1 to 1000
	Timeout     time.Duration // of one attempt; Trigger.Timeout also holds where a sender waits

	Replicas    Replicas
	Retry       Retry
	Env         map[string]string // environment of the tasks; may hold what is not for logs
	Secrets     []string          // names of Docker secrets
	Constraints []string          // Swarm placement, such as "node.labels.arch==arm"
}

// Replicas bounds the number of tasks of a function that has an Image.
type Replicas struct{ Min, Max int }

// Retry says how often and until when an event is tried. A call whose sender
// waits is never tried again.
type Retry struct {
	Attempts int           // the first one included
	Initial  time.Duration // wait before the second attempt
	Max      time.Duration // longest wait between two attempts
	MaxAge   time.Duration // age of the event at which it is given up
}

// NewFunction returns a function with every setting at its default, as a null
// value in the manifest does. It does not check the name.
func NewFunction(name string) *Function {
	return &Function{
		Name:        name,
		Lifecycle:   LifecycleAuto,
		Concurrency: 1,
		Timeout:     DefaultTimeout,
		Replicas:    Replicas{Min: 1, Max: 1},
		Retry:       Retry{Attempts: 8, Initial: time.Second, Max: 10 * time.Minute, MaxAge: 24 * time.Hour},
	}
}

// Slots is how many calls the function takes at once: Concurrency for each of
// its Addresses, and for one task where there are none.
func (f *Function) Slots() int {
	return max(1, f.Concurrency) * max(1, len(f.Addresses))
}

// Kinds of triggers.
const (
	KindAlexa  = "alexa"
	KindGitHub = "github"
)

// Trigger is a sender that may call, and what its events run. Every Trigger of
// a parsed manifest is verified by Secret, by IDOnly or, on the operator's own
// word, not at all (Insecure); exactly one of the three is set.
type Trigger struct {
	Kind     string
	Name     string // tells triggers of one kind apart; may be "" for KindAlexa
	Path     string // of the URL, unique in the manifest
	Function string // "" only for KindAlexa: then the intent alone decides

	SkillIDs []string          // KindAlexa: skills that may call; empty only when Insecure
	Intents  map[string]string // KindAlexa: function of an intent, where their names differ
	Apology  string            // KindAlexa: spoken when the function fails or is late
	Timeout  time.Duration     // KindAlexa: the sender stops waiting soon after; 0 for others
	Events   []string          // KindGitHub: events that run the function; empty means all

	Secret   Secret
	IDOnly   bool // KindAlexa: believe whoever knows the skill id
	Insecure bool // believe everybody
}

// Source is the name of the trigger in events and in the log: "alexa",
// "alexa-<name>" or "github-<name>".
func (t *Trigger) Source() string {
	if t.Name == "" {
		return t.Kind
	}
	return t.Kind + "-" + t.Name
}
