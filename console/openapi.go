package console

import (
	"bytes"
	_ "embed"
	"net/http"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the description of the API, OpenAPI 3.1 in YAML.
func OpenAPI() []byte { return bytes.Clone(openAPI) }

// openAPI serves GET /api/v1/openapi.yaml.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	answerText(w, yamlType, openAPI)
}
