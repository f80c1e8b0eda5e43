package deploy

import (
	"maps"

	"github.com/goccy/go-yaml/ast"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// eventBridge are the keys of a trigger for EventBridge.
func (r *triggerReader) eventBridge() fields {
	f := r.credentials()
	maps.Copy(f, r.shaped())
	return f
}

// shaped are the keys for what a function gets of a request with several records.
func (r *triggerReader) shaped() fields {
	t := r.t
	return fields{
		"payload": func(n ast.Node) { t.Payload = r.oneOf(n, "payload", trigger.PayloadLambda, trigger.PayloadRaw) },
		"split":   func(n ast.Node) { t.Split = r.boolean(n, "split") },
	}
}
