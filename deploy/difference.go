package deploy

import (
	"maps"
	"reflect"
	"slices"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// Action says what a new manifest does with something.
type Action string

// The actions.
const (
	ActionAdded   Action = "added"
	ActionChanged Action = "changed"
	ActionRemoved Action = "removed"
)

// Difference is one function or trigger that two manifests do not share.
type Difference struct {
	Action Action   `json:"action"`
	Kind   string   `json:"kind"`           // "function" or "trigger"
	Name   string   `json:"name"`           // of the function; source of the trigger
	Keys   []string `json:"keys,omitempty"` // that have changed, as the manifest calls them, sorted
}

// Compare returns what is different in next: added and changed things in its order, then those that it does not have.
// It tells of no value, for environments and secrets are among them.
func Compare(last, next *Manifest) []Difference {
	functions := compare("function", last.Functions, next.Functions, func(f *Function) string { return f.Name }, functionKeys)
	return append(functions, compare("trigger", last.Triggers, next.Triggers, (*Trigger).Source, triggerKeys)...)
}

func compare[T any](kind string, last, next []*T, name func(*T) string, keys func(*T) map[string]any) []Difference {
	var all []Difference
	before := make(map[string]*T, len(last))
	for _, l := range last {
		before[name(l)] = l
	}
	for _, n := range next {
		l, known := before[name(n)]
		if !known {
			all = append(all, Difference{Action: ActionAdded, Kind: kind, Name: name(n)})
		} else if changed := changedKeys(keys(l), keys(n)); len(changed) > 0 {
			all = append(all, Difference{Action: ActionChanged, Kind: kind, Name: name(n), Keys: changed})
		}
		delete(before, name(n))
	}
	for _, l := range last {
		if _, gone := before[name(l)]; gone {
			all = append(all, Difference{Action: ActionRemoved, Kind: kind, Name: name(l)})
		}
	}
	return all
}

func changedKeys(last, next map[string]any) []string {
	var changed []string
	for _, key := range slices.Sorted(maps.Keys(next)) {
		if !reflect.DeepEqual(last[key], next[key]) {
			changed = append(changed, key)
		}
	}
	return changed
}

func functionKeys(f *Function) map[string]any {
	return map[string]any{
		"image": f.Image, "addresses": f.Addresses, "paused": f.Paused, "lifecycle": f.Lifecycle, "concurrency": f.Concurrency, "timeout": f.Timeout,
		"input": f.Input, "payload": f.Payload, "replicas": f.Replicas, "retry": f.Retry, "env": f.Env, "secrets": f.Secrets, "configs": f.Configs,
		"command": f.Command, "constraints": f.Constraints, "labels": f.Labels, "resources": f.Resources,
	}
}

func triggerKeys(t *Trigger) map[string]any {
	keys := map[string]any{
		"path": t.Path, "insecure": t.Insecure, "closed": t.Closed, "secret-file": readable(t.Secrets), "function": t.Function,
		"batch": t.Batched, "origins": t.Origins,
		trigger.Alexa: t.SkillIDs, "verify": t.IDOnly, "intents": t.Intents, "apology": t.Apology, "timeout": t.Timeout,
		signingSecret: readable(t.SigningSecrets), "dedupe": t.Dedupe,
		"auth": t.Auth, "user": t.User, "header": t.Header,
		"hmac": t.HMAC, "id": t.IDFrom, "event": t.EventFrom,
		"topics": t.Topics, "require-sha256": t.RequireSHA256, "raw-delivery": t.RawDelivery, "payload": t.Payload, "split": t.Split,
		"test-secret-file": readable(t.TestSecrets),
	}
	if len(t.Routes) == 1 {
		r := t.Routes[0]
		keys["function"], keys["events"], keys["if"] = r.Function, r.Filter.Events, r.Filter.If
		keys["repositories"], keys["branches"] = r.Filter.Repositories, r.Filter.Branches
		keys["buckets"], keys["keys"] = r.Filter.Buckets, r.Filter.Keys
	} else {
		keys["routes"] = t.Routes
	}
	return keys
}

// readable are secrets that can be compared.
func readable(secrets []trigger.Secret) []string {
	texts := make([]string, len(secrets))
	for i, s := range secrets {
		texts[i] = string(s)
	}
	return texts
}
