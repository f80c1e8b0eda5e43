// Package deploy says what runs where. Its manifest names the functions and the
// triggers that call them; it is read from functions.yaml or from the older
// services.json, and is refused whole, with every fault and its line.
package deploy

import (
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

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

	// Partial says that the text has faults and this is what can be used of it: see Salvage. Whoever removes what the
	// manifest does not name must leave everything alone then.
	Partial bool

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

// Deploys reports whether a function has an image, of which a service is made.
func (m *Manifest) Deploys() bool { return len(deployed(m.Functions)) > 0 }

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

	Paused bool // nothing new of it is run: its events wait, and its calls are refused

	Lifecycle   Lifecycle
	Concurrency int           // connections that one task takes at a time, 1 to 1000
	Timeout     time.Duration // of one attempt; Trigger.Timeout also holds where a sender waits
	Input       []string      // members of the payload that the function gets; nil means the whole payload
	Payload     Payload       // in what the function gets its payload

	Replicas    Replicas
	Retry       Retry
	Env         map[string]string // environment of the tasks; may hold what is not for logs
	Secrets     []string          // names of Docker secrets
	Configs     []string          // names of Docker configs
	Command     []string          // arguments of the image's entry point, in place of those it has; nil: those
	Constraints []string          // Swarm placement, such as "node.labels.arch==arm"
	Labels      map[string]string // of the service
	Resources   Resources
}

// Payload says in what a function gets its payload.
type Payload string

// What a payload can be in.
const (
	PayloadPlain       Payload = "plain"       // nothing
	PayloadCloudEvents Payload = "cloudevents" // a CloudEvent in JSON, as its data
)

// Resources is the most that one task may take. 0 means no limit.
type Resources struct {
	NanoCPUs int64 // billionths of a CPU
	Memory   int64 // bytes
}

// Replicas bounds the number of tasks of a function that has an Image.
type Replicas struct{ Min, Max int }

// Retry says how often and until when an event is tried. A call whose sender
// waits is never tried again.
type Retry struct {
	Attempts int           `json:"attempts"` // the first one included
	Initial  time.Duration `json:"initial"`  // wait before the second attempt
	Max      time.Duration `json:"max"`      // longest wait between two attempts
	MaxAge   time.Duration `json:"max_age"`  // age of the event at which it is given up
}

// NewFunction returns a function with every setting at its default, as a null
// value in the manifest does. It does not check the name.
func NewFunction(name string) *Function {
	return &Function{
		Name:        name,
		Lifecycle:   LifecycleAuto,
		Concurrency: 1,
		Timeout:     DefaultTimeout,
		Payload:     PayloadPlain,
		Replicas:    Replicas{Min: 1, Max: 1},
		Retry:       Retry{Attempts: 8, Initial: time.Second, Max: 10 * time.Minute, MaxAge: 24 * time.Hour},
	}
}

// Slots is how many calls the function takes at once: Concurrency for each of
// its Addresses, and for one task where there are none.
func (f *Function) Slots() int {
	return max(1, f.Concurrency) * max(1, len(f.Addresses))
}

// Trigger is a sender that may call, and what its events run. Every Trigger of
// a parsed manifest is verified in a way that its kind has or, on the operator's
// own word, not at all (Insecure); never both.
type Trigger struct {
	trigger.Config        // who the sender is, and what becomes of its requests
	Name           string // tells triggers of one kind apart; may be "" for alexa
	Path           string // of the URL, unique in the manifest

	Routes []Route // what an event runs: all whose filters it passes; at least one, none for alexa

	Function string            // alexa: of what has no function of its own; "": nothing
	Intents  map[string]string // alexa: function of an intent, where their names differ
	Apology  string            // alexa: spoken when the function fails or is late
	Timeout  time.Duration     // alexa: the sender stops waiting soon after; 0 for others

	// SecretFiles are where its secrets are kept, for people: the files, never what is in them.
	SecretFiles []SecretFile

	// Closed is why nobody may call, "" for every trigger of a manifest that is not Partial. A closed trigger may lack
	// anything but its kind and path.
	Closed string
}

// SecretFile is a file with a secret of a trigger.
type SecretFile struct {
	Key  string `json:"key"`  // of the manifest, such as "secret-file"
	File string `json:"file"` // path at the gateway
}

// Route is one function that the events of a trigger run.
type Route struct {
	Function string
	Filter   Filter
}

// Filter says which events run a function: those that meet all of it. An empty
// field asks for nothing, so the zero value lets all through. NewMatcher makes it
// ready to be asked.
type Filter struct {
	Events       []string // names of events
	Repositories []string // patterns of "owner/name"; forges only, as are Branches
	Branches     []string // patterns of names
	Buckets      []string // patterns of names; senders of storage events only, as are Keys
	Keys         []string // patterns of keys; one that ends with / is a prefix
	If           string   // CEL expression over event, source, headers and body
}

// Source is the name of the trigger in events and in the log: "alexa",
// "alexa-<name>" or "github-<name>".
func (t *Trigger) Source() string {
	if t.Name == "" {
		return t.Kind
	}
	return t.Kind + "-" + t.Name
}
