package console

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// Public is what is known of how senders reach the gateway.
type Public struct {
	Domain string // for which it has a certificate; "": none is known
	Port   int    // of the listener; 0: it is not known
	TLS    bool
}

// setup is how a trigger is set up at its sender.
type setup struct {
	URL     string              `json:"url"`         // the path alone where nothing else is known
	Guessed bool                `json:"url_guessed"` // its host is that of the request which asks
	Steps   []string            `json:"steps"`       // what to do at the sender
	Values  []headerLine        `json:"values"`      // what to enter there
	Secrets []deploy.SecretFile `json:"secrets"`     // where the secrets are, never what they are
	Docs    string              `json:"docs"`        // page with everything
}

// setupOf serves a trigger of the manifest.
func (s *Server) setupOf(r *http.Request, source string) (setup, bool) {
	for _, t := range s.catalog.Manifest().Triggers {
		if t.Source() == source {
			url, guessed := s.addressFor(r, t.Path)
			return newSetup(t, url, guessed), true
		}
	}
	return setup{}, false
}

// addressFor is the URL of a path of the public listener.
func (s *Server) addressFor(r *http.Request, path string) (url string, guessed bool) {
	switch p := s.public; {
	case p.Domain != "": // an authority has found it on a usual port
		return "https://" + p.Domain + path, false
	case p.Port == 0:
		return path, true
	default:
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		scheme, usual := "http", 80
		if p.TLS {
			scheme, usual = "https", 443
		}
		if p.Port == usual {
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			return scheme + "://" + host + path, true
		}
		return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(p.Port)) + path, true
	}
}

// setupAnswer serves GET /api/v1/triggers/{source}/setup.
func (s *Server) setupAnswer(w http.ResponseWriter, r *http.Request) {
	known, ok := s.setupOf(r, r.PathValue("source"))
	if !ok {
		refuse(w, http.StatusNotFound, "no_trigger", "there is no such trigger in the manifest: see GET /api/v1/triggers")
		return
	}
	answer(w, http.StatusOK, known)
}

func newSetup(t *deploy.Trigger, url string, guessed bool) setup {
	s := &setup{URL: url, Guessed: guessed, Secrets: append([]deploy.SecretFile{}, t.SecretFiles...), Docs: "docs/" + cmp.Or(docsPages[t.Kind], t.Kind) + ".md"}
	if write := setups[t.Kind]; write != nil {
		write(s, t)
	}
	return *s
}

// docsPages are those of kinds that share one.
var docsPages = map[string]string{"forgejo": "gitea", "rustfs": "minio"}

// setups write what to do for each kind of sender. The pages in docs say more.
var setups = map[string]func(*setup, *deploy.Trigger){
	"alexa": (*setup).alexa, "github": (*setup).github, "gitlab": (*setup).gitlab, "gitea": (*setup).gitea, "forgejo": (*setup).gitea,
	"bitbucket": (*setup).bitbucket, "sns": (*setup).sns, "eventbridge": (*setup).eventBridge, "firehose": (*setup).firehose,
	"minio": (*setup).minIO, "rustfs": (*setup).minIO, "standard-webhooks": (*setup).standardWebhooks, "stripe": (*setup).stripe,
	"slack": (*setup).slack, "cloudevents": (*setup).cloudEvents, "webhook": (*setup).webhook,
}

func (s *setup) step(text string, args ...any) { s.Steps = append(s.Steps, fmt.Sprintf(text, args...)) }
func (s *setup) value(name, value string)      { s.Values = append(s.Values, headerLine{name, value}) }

// secret says where a secret is.
func (s *setup) secret(t *deploy.Trigger) string {
	var files []string
	for _, f := range t.SecretFiles {
		if f.Key != "test-secret-file" {
			files = append(files, f.File)
		}
	}
	switch {
	case len(files) > 0:
		return "what is in " + strings.Join(files, ", or in ")
	case len(t.Secrets) > 0:
		return "what is in the file of --github-secret-file"
	}
	return "none: the trigger is insecure"
}

// events are those that the functions want.
func (s *setup) events(t *deploy.Trigger, name, all string) {
	var wanted []string
	for _, r := range t.Routes {
		if len(r.Filter.Events) == 0 {
			wanted = nil
			break
		}
		wanted = append(wanted, r.Filter.Events...)
	}
	slices.Sort(wanted)
	s.value(name, cmp.Or(strings.Join(slices.Compact(wanted), ", "), all))
}

func (s *setup) alexa(t *deploy.Trigger) {
	s.step("In the Alexa developer console open the skill. Its id, under Endpoint, has to be the one in the manifest.")
	s.step("Under Endpoint choose HTTPS and enter the URL. Alexa wants port 443 and a certificate that it trusts for the host.")
	s.step("Save, build the model, and say something under Test.")
	s.value("Default region", s.URL)
	if t.IDOnly || t.Insecure {
		s.step("Amazon's signature is not checked here: keep the skill id and the path to yourself.")
	}
}

func (s *setup) github(t *deploy.Trigger) {
	s.step("In the repository or organisation: Settings, Webhooks, Add webhook.")
	s.step("Enter the values, choose the events, and add it. GitHub sends a ping at once: this page then has a time at Connected.")
	s.value("Payload URL", s.URL)
	s.value("Content type", "application/json")
	s.value("Secret", s.secret(t))
	s.events(t, "Events", "those that your function wants; every event runs it")
}

func (s *setup) gitlab(t *deploy.Trigger) {
	s.step("In the project or group: Settings, Webhooks, Add new webhook.")
	s.step("Enter the values, choose the triggers, and add it. Test sends one at once.")
	s.value("URL", s.URL)
	name := "Secret token"
	if len(t.SigningSecrets) > 0 {
		name = "Signing token"
	}
	s.value(name, s.secret(t))
	s.events(t, "Trigger", "those that your function wants; every event runs it")
}

func (s *setup) gitea(t *deploy.Trigger) {
	s.step("In the repository or organisation: Settings, Webhooks, Add webhook, Gitea or Forgejo.")
	s.step("Enter the values, and leave the field for an authorization header empty.")
	s.step("A gateway at a private address has to be in ALLOWED_HOST_LIST, in the section webhook of app.ini.")
	s.value("Target URL", s.URL)
	s.value("HTTP method", "POST")
	s.value("POST content type", "application/json")
	s.value("Secret", s.secret(t))
	s.events(t, "Trigger on", "those that your function wants; every event runs it")
}

func (s *setup) bitbucket(t *deploy.Trigger) {
	s.step("Repository settings, Webhooks, Add webhook (Cloud) or Create webhook (Data Center).")
	s.step("Enter the values, choose the triggers, and save. Test connection of Data Center gives Connected a time here; it does not try the secret.")
	s.value("URL", s.URL)
	s.value("Secret", s.secret(t))
	s.events(t, "Triggers", "those that your function wants; every event runs it")
}

func (s *setup) sns(t *deploy.Trigger) {
	s.step("In the SNS console open the topic, Create subscription, and enter the values. HTTPS needs a certificate that Amazon trusts.")
	s.step("The gateway confirms it by itself when the topic is in the manifest: the console says Confirmed, and this page has a time at Connected.")
	s.step("S3 and CloudWatch alarms send through the topic: name it in the event notifications of the bucket, or in the actions of the alarm.")
	s.value("Topic ARN", cmp.Or(strings.Join(t.Topics, ", "), "any: the trigger is insecure"))
	s.value("Protocol", strings.SplitN(s.URL, ":", 2)[0])
	if t.RawDelivery {
		s.value("Endpoint", strings.Replace(s.URL, "://", "://"+t.User+":PASSWORD@", 1))
		s.value("PASSWORD", s.secret(t))
		s.value("Raw message delivery", "on")
		return
	}
	s.value("Endpoint", s.URL)
	s.value("Raw message delivery", "off")
}

func (s *setup) eventBridge(t *deploy.Trigger) {
	s.step("In the EventBridge console: API destinations, Connections, Create connection, with the authorization.")
	s.step("Create an API destination with that connection, the URL and the method POST.")
	s.step("Make a rule, or a pipe, whose target is the API destination.")
	s.value("API destination endpoint", s.URL)
	s.value("HTTP method", "POST")
	switch t.Auth {
	case "basic":
		s.value("Authorization type", "Basic")
		s.value("Username", t.User)
		s.value("Password", s.secret(t))
	case "bearer":
		s.value("Authorization type", "OAuth client credentials")
		s.value("Token that your server gives out", s.secret(t))
	default:
		s.value("Authorization type", "API key")
		s.value("API key name", cmp.Or(t.Header, "X-Api-Key"))
		s.value("Value", s.secret(t))
	}
	s.events(t, "Detail types", "those that your rule lets through")
}

func (s *setup) firehose(t *deploy.Trigger) {
	s.step("In the Firehose console: Create Firehose stream, destination HTTP Endpoint, and enter the values. The URL has to be HTTPS on port 443.")
	s.step("Keep the buffer small, such as 1 MiB, and choose a bucket for what cannot be delivered.")
	s.value("HTTP endpoint URL", s.URL)
	s.value("Access key", s.secret(t))
	s.value("Content encoding", "GZIP")
}

func (s *setup) minIO(t *deploy.Trigger) {
	family := strings.ToUpper(t.Kind)
	s.step("Set the variables in the environment of the server and start it again. The queue folder keeps what could not be delivered.")
	s.step("Then say which bucket sends what, such as: mc event add local/BUCKET arn:%s:sqs::GATEWAY:webhook --event put,delete", t.Kind)
	s.value(family+"_NOTIFY_WEBHOOK_ENABLE_GATEWAY", "on")
	s.value(family+"_NOTIFY_WEBHOOK_ENDPOINT_GATEWAY", s.URL)
	s.value(family+"_NOTIFY_WEBHOOK_AUTH_TOKEN_GATEWAY", s.secret(t))
	s.value(family+"_NOTIFY_WEBHOOK_QUEUE_DIR_GATEWAY", "a folder that stays")
	s.events(t, "Events", "those that your function wants; every event runs it")
}

func (s *setup) standardWebhooks(t *deploy.Trigger) {
	s.step("At the sender add an endpoint with the URL. It then shows the secret of the endpoint, whsec_… or whpk_….")
	s.step("Put that, whole, into the file of the secret, and apply the manifest or start the gateway again.")
	s.value("URL", s.URL)
	s.value("Secret", s.secret(t))
	s.events(t, "Events", "those that your function wants; every event runs it")
}

func (s *setup) stripe(t *deploy.Trigger) {
	s.step("In the Stripe dashboard: Developers, Webhooks, Add destination, with the URL and the events. Live mode wants HTTPS.")
	s.step("Stripe then shows the signing secret of this endpoint, whsec_…. Put it, whole, into the file, and apply the manifest or start the gateway again.")
	s.value("Endpoint URL", s.URL)
	s.value("Signing secret", s.secret(t))
	s.events(t, "Events", "those that your function wants; every event runs it")
}

func (s *setup) slack(t *deploy.Trigger) {
	s.step("At api.slack.com, in the app, Basic Information has the signing secret: put it into the file before anything else.")
	s.step("Under Event Subscriptions enter the URL. Slack sends a challenge at once: it says Verified, and this page has a time at Connected.")
	s.step("Under Slash Commands and Interactivity & Shortcuts the URL is the same.")
	s.value("Request URL", s.URL)
	s.value("Signing secret", s.secret(t))
	s.events(t, "Events, commands and actions", "those that your function wants; every event runs it")
}

func (s *setup) cloudEvents(t *deploy.Trigger) {
	s.step("Let the sender post events to the URL, in binary or structured mode, with the header.")
	s.step("Where it can be given only a URL, put ?access_token= and the secret behind it. Azure Event Grid: event schema Cloud Event Schema v1.0, endpoint type Web Hook.")
	s.value("URL", s.URL)
	s.value("Authorization", "Bearer and "+s.secret(t))
	s.events(t, "Types", "those that your function wants; every event runs it")
}

func (s *setup) webhook(t *deploy.Trigger) {
	s.step("Let the sender post JSON to the URL, and prove who it is as below.")
	s.value("URL", s.URL)
	s.value("Method", "POST")
	s.value("Content-Type", "application/json")
	switch h := t.HMAC; {
	case h.Header != "":
		s.value(h.Header, fmt.Sprintf("%sHMAC-%s of %s, as %s", h.Prefix, strings.ToUpper(cmp.Or(h.Algorithm, "sha256")), cmp.Or(h.Template, "the body"), cmp.Or(h.Encoding, "hex")))
		s.value("Key of the HMAC", s.secret(t))
	case t.Insecure:
		s.value("Authorization", "none: the trigger is insecure")
	case t.Auth == "basic":
		s.value("User", t.User)
		s.value("Password", s.secret(t))
	case t.Auth == "api-key":
		s.value(t.Header, s.secret(t))
	default:
		s.value("Authorization", "Bearer and "+s.secret(t))
	}
	if t.IDFrom != "" {
		s.value("Id of the request", "at "+t.IDFrom)
	}
	if t.EventFrom != "" {
		s.value("Name of the event", "at "+t.EventFrom)
	}
}
