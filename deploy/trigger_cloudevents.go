package deploy

import (
	"errors"

	"github.com/goccy/go-yaml/ast"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// cloudEvents are the keys of a trigger for CloudEvents.
func (r *triggerReader) cloudEvents() fields {
	return fields{
		"batch":   func(n ast.Node) { r.t.Batched = r.boolean(n, "batch") },
		"origins": func(n ast.Node) { r.t.Origins = r.origins(n) },
	}
}

func (r *triggerReader) origins(n ast.Node) []string {
	return r.some(n, "origins", "[eventgrid.azure.net]", func(s string) (string, error) {
		if !trigger.IsOrigin(s) {
			return "", errors.New("is not the name of a sender in DNS: write for example eventgrid.azure.net")
		}
		return s, nil
	})
}
