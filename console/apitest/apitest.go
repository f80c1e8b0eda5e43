// Package apitest holds answers of the admin API to their description. It is for tests.
package apitest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// oas31 is the schema of OpenAPI documents, https://spec.openapis.org/oas/3.1/schema/2022-10-07.
//
//go:embed oas31-schema.json
var oas31 []byte

// Description is an OpenAPI 3.1 document.
type Description struct {
	Operations []*Operation // in the order of paths and methods

	root     map[string]any
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by pointer
}

// Operation is one of a description.
type Operation struct {
	Method, Path string // such as "GET" and "/api/v1/events/{id}"
	Parameters   []Parameter

	pointer   string
	responses map[string]any
}

// Parameter of an operation.
type Parameter struct {
	Name, In string // In is "path", "query" or "header"
	Schema   map[string]any
}

const document = "openapi.json"

// Read reads a description, which has to be valid.
func Read(t testing.TB, text []byte) *Description {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	root := decode(t, asJSON)
	d := &Description{root: root.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.compiler.AssertFormat()
	d.checkItself(t)
	closeAll(d.root)
	if err := d.compiler.AddResource(document, d.root); err != nil {
		t.Fatal(err)
	}
	d.readOperations()
	return d
}

func decode(t testing.TB, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// checkItself holds the document to the schema of OpenAPI.
func (d *Description) checkItself(t testing.TB) {
	t.Helper()
	const name = "https://spec.openapis.org/oas/3.1/schema/2022-10-07"
	if err := d.compiler.AddResource(name, decode(t, oas31)); err != nil {
		t.Fatal(err)
	}
	if err := d.compiler.MustCompile(name).Validate(d.root); err != nil {
		t.Fatalf("the description is no OpenAPI 3.1: %#v", err)
	}
}

// closeAll refuses members that no schema has: what an answer has and the description has not is a fault of the latter.
func closeAll(root map[string]any) {
	components, _ := root["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	for _, s := range schemas {
		closeWithin(s.(map[string]any)) // not itself: allOf may add to it
	}
	closeSchemas(root["paths"])
	closeSchemas(components["responses"])
}

// closeSchemas closes the schemas of contents.
func closeSchemas(node any) {
	switch n := node.(type) {
	case map[string]any:
		for key, v := range n {
			if s, ok := v.(map[string]any); ok && key == "schema" {
				closeSchema(s)
				continue
			}
			closeSchemas(v)
		}
	case []any:
		for _, v := range n {
			closeSchemas(v)
		}
	}
}

func closeSchema(s map[string]any) {
	_, refers := s["$ref"]
	_, has := s["properties"]
	_, all := s["allOf"]
	_, more := s["additionalProperties"]
	if (refers || has || all) && !more {
		s["unevaluatedProperties"] = false
	}
	closeWithin(s)
}

// closeWithin closes the schemas in another one, except those that are added up.
func closeWithin(s map[string]any) {
	if properties, ok := s["properties"].(map[string]any); ok {
		for _, p := range properties {
			closeSchema(p.(map[string]any))
		}
	}
	if items, ok := s["items"].(map[string]any); ok {
		closeSchema(items)
	}
	if one, ok := s["oneOf"].([]any); ok {
		for _, o := range one {
			closeSchema(o.(map[string]any))
		}
	}
	if all, ok := s["allOf"].([]any); ok {
		for _, a := range all {
			closeWithin(a.(map[string]any))
		}
	}
}

// resolve follows a reference within the document.
func (d *Description) resolve(node any) map[string]any {
	m := node.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[part]
	}
	return at.(map[string]any)
}

func (d *Description) readOperations() {
	paths := d.root["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path].(map[string]any)
		for _, method := range slices.Sorted(maps.Keys(item)) {
			o := item[method].(map[string]any)
			op := &Operation{Method: strings.ToUpper(method), Path: path, responses: o["responses"].(map[string]any)}
			op.pointer = "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + method
			parameters, _ := o["parameters"].([]any)
			for _, p := range parameters {
				r := d.resolve(p)
				op.Parameters = append(op.Parameters, Parameter{r["name"].(string), r["in"].(string), d.resolve(r["schema"])})
			}
			d.Operations = append(d.Operations, op)
		}
	}
}

// Query returns the names of the parameters of a query.
func (o *Operation) Query() (names []string) {
	for _, p := range o.Parameters {
		if p.In == "query" {
			names = append(names, p.Name)
		}
	}
	return names
}

// find returns the operation that a request is for, or nil. A path with more names and fewer parameters is meant first.
func (d *Description) find(method, escapedPath string) (found *Operation) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, o := range d.Operations {
		if o.Method == method && matches(o.Path, escapedPath) && (found == nil || strings.Count(o.Path, "{") < strings.Count(found.Path, "{")) {
			found = o
		}
	}
	return found
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i, part := range want {
		text, err := url.PathUnescape(got[i])
		if err != nil || text == "" && part != "" || !strings.HasPrefix(part, "{") && part != text {
			return false
		}
	}
	return true
}

// Fault says what is wrong with an answer to a request; nil when nothing is. What no operation describes has to be a
// problem.
func (d *Description) Fault(r *http.Request, status int, header http.Header, body []byte) error {
	response, pointer, err := d.response(d.find(r.Method, r.URL.EscapedPath()), status)
	if err != nil {
		return err
	}
	if err := d.headerFault(response, header); err != nil {
		return err
	}
	return d.contentFault(r, response, pointer, header.Get("Content-Type"), body)
}

// response finds what an operation may answer with a status, and where that is described.
func (d *Description) response(o *Operation, status int) (response map[string]any, pointer string, err error) {
	const problem = "/components/responses/problem"
	if o == nil && status >= 400 {
		return d.resolve(map[string]any{"$ref": "#" + problem}), problem, nil
	}
	if o == nil {
		return nil, "", fmt.Errorf("no operation is described, and the status is %d", status)
	}
	described, ok := o.responses[strconv.Itoa(status)].(map[string]any)
	if !ok {
		return nil, "", fmt.Errorf("%s %s has no status %d", o.Method, o.Path, status)
	}
	if ref, ok := described["$ref"].(string); ok {
		return d.resolve(described), strings.TrimPrefix(ref, "#"), nil
	}
	return described, o.pointer + "/responses/" + strconv.Itoa(status), nil
}

func (d *Description) headerFault(response map[string]any, header http.Header) error {
	described, _ := response["headers"].(map[string]any)
	for name, h := range described {
		if required, _ := d.resolve(h)["required"].(bool); required && header.Get(name) == "" {
			return fmt.Errorf("the header %s is missing", name)
		}
	}
	return nil
}

func (d *Description) contentFault(r *http.Request, response map[string]any, pointer, contentType string, body []byte) error {
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("there is a body: %s", body)
		}
		return nil
	}
	if _, ok := content[contentType]; !ok {
		return fmt.Errorf("the content type is %q", contentType)
	}
	if r.Method == http.MethodHead || !strings.HasSuffix(contentType, "json") {
		return nil
	}
	return d.schemaFault(pointer+"/content/"+strings.ReplaceAll(contentType, "/", "~1")+"/schema", body)
}

// SchemaFault says what is wrong with a JSON text that shall be one of the schemas.
func (d *Description) SchemaFault(name string, text []byte) error {
	return d.schemaFault("/components/schemas/"+name, text)
}

func (d *Description) schemaFault(pointer string, text []byte) error {
	schema := d.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = d.compiler.Compile(document + "#" + pointer); err != nil {
			return fmt.Errorf("schema %s: %w", pointer, err)
		}
		d.schemas[pointer] = schema
	}
	if !json.Valid(text) {
		return fmt.Errorf("no JSON: %s", text)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	if err := schema.Validate(v); err != nil {
		return fmt.Errorf("%w in %s", err, text)
	}
	return nil
}
