package deploy

import (
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	// maxAlexaTimeout leaves a second of the eight that Alexa waits for the
	// way there and back.
	maxAlexaTimeout = 7 * time.Second

	maxApology = 600 // characters; it is spoken
)

func (r *triggerReader) alexa() fields {
	t := r.t
	t.Path, t.Apology, t.Timeout = "/alexa", DefaultApology, DefaultAlexaTimeout
	return fields{
		trigger.Alexa: func(n ast.Node) { t.SkillIDs = r.skillIDs(n) },
		"name":        func(n ast.Node) { t.Name = r.name(n, "name") },
		"path":        func(n ast.Node) { t.Path = r.path(n) },
		"function":    func(n ast.Node) { t.Function = r.functionName(n, "function") },
		"intents":     func(n ast.Node) { t.Intents = r.intents(n) },
		"apology":     func(n ast.Node) { t.Apology = r.apology(n) },
		"timeout":     func(n ast.Node) { t.Timeout = r.duration(n, "timeout of an alexa trigger", maxAlexaTimeout) },
		"verify":      func(n ast.Node) { t.IDOnly = r.verify(n) },
		"insecure":    func(n ast.Node) { t.Insecure = r.boolean(n, "insecure") },

		"test-secret-file": func(n ast.Node) { t.TestSecrets = r.secrets(n, "test-secret-file") },
	}
}

func checkSkillID(s string) (string, error) {
	if !printable(s) {
		return "", errors.New("has blanks or control characters: copy the id from the Alexa console")
	}
	return s, nil
}

// skillIDs reads one skill id, a list of them, or nothing for any skill.
func (r *triggerReader) skillIDs(n ast.Node) []string {
	if list, ok := n.(*ast.SequenceNode); ok && len(list.Values) > 0 {
		return r.texts(n, trigger.Alexa, "[amzn1.ask.skill.…]", checkSkillID)
	} else if ok || isNull(n) {
		r.open = true
		return nil
	}
	id, ok := r.text(n, trigger.Alexa)
	if !ok {
		return nil
	}
	if _, err := checkSkillID(id); err != nil {
		r.fault(at(n), "%s: %q %v", trigger.Alexa, id, err)
	}
	return []string{id}
}

func (r *triggerReader) intents(n ast.Node) map[string]string {
	intents := map[string]string{}
	for _, e := range r.entries(n, "intents") {
		intents[e.key] = r.functionName(e.value, fmt.Sprintf("intent %q", shorten(e.key)))
	}
	if len(intents) == 0 {
		return nil
	}
	return intents
}

func (r *triggerReader) apology(n ast.Node) string {
	s, ok := r.text(n, "apology")
	if ok && len([]rune(s)) > maxApology {
		r.fault(at(n), "apology is longer than %d characters: shorten it, it is spoken", maxApology)
	}
	return s
}

func (r *triggerReader) verify(n ast.Node) bool {
	s, ok := r.text(n, "verify")
	if ok && s != "id-only" {
		r.fault(at(n), "verify %q is unknown: use id-only", s)
	}
	return true
}
