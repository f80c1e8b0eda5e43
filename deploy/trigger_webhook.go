package deploy

import (
	"maps"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// maxTolerance of a signature that has a time.
const maxTolerance = time.Hour

// webhook are the keys of senders that have no kind of their own.
func (r *triggerReader) webhook() fields {
	t := r.t
	f := r.credentials()
	maps.Copy(f, fields{
		"hmac":  func(n ast.Node) { t.HMAC = r.hmac(n) },
		"id":    func(n ast.Node) { t.IDFrom = r.place(n, "id") },
		"event": func(n ast.Node) { t.EventFrom = r.place(n, "event") },
	})
	return f
}

func (r *triggerReader) hmac(n ast.Node) (c trigger.HMAC) {
	before := len(r.faults)
	r.object(n, "hmac", fields{
		"header":    func(n ast.Node) { c.Header = r.header(n, "header") },
		"algorithm": func(n ast.Node) { c.Algorithm = r.oneOf(n, "algorithm", trigger.HMACAlgorithms()...) },
		"encoding":  func(n ast.Node) { c.Encoding = r.oneOf(n, "encoding", trigger.HMACEncodings()...) },
		"prefix":    func(n ast.Node) { c.Prefix, _ = r.text(n, "prefix") },
		"template":  func(n ast.Node) { c.Template = r.checked(n, "template", trigger.CheckTemplate) },
		"tolerance": func(n ast.Node) { c.Tolerance = r.duration(n, "tolerance", maxTolerance) },
	})
	if c.Header == "" && len(r.faults) == before {
		r.fault(at(n), "hmac has no header: name the one that has the signature, such as header: X-Signature")
	}
	return c
}

func (r *triggerReader) place(n ast.Node, key string) string {
	return r.checked(n, key, trigger.CheckPlace)
}
