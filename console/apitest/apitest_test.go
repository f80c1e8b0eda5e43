package apitest

import (
	"net/http"
	"strings"
	"testing"
)

const small = `
openapi: "3.1.0"
info: {title: small, version: "1"}
paths:
  /things:
    get:
      parameters: [{name: limit, in: query, schema: {type: integer}}]
      responses:
        "200":
          description: things
          headers: {Etag: {required: true, schema: {type: string}}}
          content: {application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Thing"}}}}
        "503": {$ref: "#/components/responses/problem"}
  /things/all:
    get: {responses: {"204": {description: nothing}}}
  /things/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses:
        "200":
          description: a thing
          content: {application/json: {schema: {allOf: [{$ref: "#/components/schemas/Thing"}, {type: object, properties: {color: {type: string}}}]}}}
components:
  responses:
    problem:
      description: an error
      content: {application/problem+json: {schema: {type: object, required: [code], properties: {code: {type: string}}}}}
  schemas:
    Thing:
      type: object
      required: [name]
      properties: {name: {type: string}, at: {type: string, format: date-time}, part: {type: object, properties: {size: {type: integer}}}}
`

func TestFault_FindsEveryDifference(t *testing.T) {
	d := Read(t, []byte(small))
	if len(d.Operations) != 3 || len(d.Operations[0].Query()) != 1 {
		t.Fatalf("operations: %+v", d.Operations)
	}
	for _, c := range []struct {
		method, path string
		status       int
		contentType  string
		etag         string
		body         string
		want         string // "" is no fault
	}{
		{"GET", "/things?limit=1", 200, "application/json", `"1"`, `[{"name":"a","at":"2026-11-23T08:00:00Z","part":{"size":1}}]`, ""},
		{"HEAD", "/things", 200, "application/json", `"1"`, ``, ""},
		{"GET", "/things/a%2Fb", 200, "application/json", "", `{"name":"a","color":"red"}`, ""},
		{"GET", "/things/all", 204, "", "", "", ""},
		{"GET", "/things", 503, "application/problem+json", "", `{"code":"x"}`, ""},
		{"GET", "/nowhere", 404, "application/problem+json", "", `{"code":"x"}`, ""},
		{"POST", "/things", 405, "application/problem+json", "", `{"code":"x"}`, ""},
		{"GET", "/things", 200, "application/json", "", `[]`, "header Etag"},
		{"GET", "/things", 200, "application/json", `"1"`, `[{}]`, "name"},
		{"GET", "/things", 200, "application/json", `"1"`, `[{"name":"a","other":1}]`, "other"},
		{"GET", "/things", 200, "application/json", `"1"`, `[{"name":"a","part":{"weight":1}}]`, "weight"},
		{"GET", "/things", 200, "application/json", `"1"`, `[{"name":"a","at":"yesterday"}]`, "date-time"},
		{"GET", "/things", 200, "application/json", `"1"`, `{"name":"a"}`, "array"},
		{"GET", "/things", 200, "application/json", `"1"`, `[`, "no JSON"},
		{"GET", "/things", 200, "text/plain", `"1"`, `[]`, "content type"},
		{"GET", "/things", 201, "application/json", `"1"`, `[]`, "no status 201"},
		{"GET", "/things/a", 200, "application/json", "", `{"name":"a","weight":1}`, "weight"},
		{"GET", "/things/all", 204, "", "", "x", "there is a body"},
		{"GET", "/nowhere", 200, "application/json", "", `{}`, "no operation"},
		{"GET", "/nowhere", 404, "application/json", "", `{"code":"x"}`, "content type"},
		{"GET", "/nowhere", 404, "application/problem+json", "", `{"error":"x"}`, "code"},
	} {
		r, err := http.NewRequest(c.method, "http://x"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		h.Set("Content-Type", c.contentType)
		h.Set("Etag", c.etag)
		err = d.Fault(r, c.status, h, []byte(c.body))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s %d %s: got %v, want %q", c.method, c.path, c.status, c.body, err, c.want)
		}
	}
	if err := d.SchemaFault("Thing", []byte(`{"name":1}`)); err == nil {
		t.Error("a name that is a number is taken")
	}
}
