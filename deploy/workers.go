package deploy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// workersFunction is what a worker has to know of a function: not its environment, which may be secret.
type workersFunction struct {
	Name        string        `json:"name"`
	Image       string        `json:"image,omitempty"`
	Addresses   []string      `json:"addresses,omitempty"`
	Paused      bool          `json:"paused,omitempty"`
	Lifecycle   Lifecycle     `json:"lifecycle"`
	Concurrency int           `json:"concurrency"`
	Timeout     time.Duration `json:"timeout"` // nanoseconds
	Input       []string      `json:"input,omitzero"`
	Payload     Payload       `json:"payload,omitempty"`
	Retry       Retry         `json:"retry"`
}

// ForWorkers encodes the functions of a manifest for those who run them, as JSON: without what belongs to their
// services, and without triggers.
func (m *Manifest) ForWorkers() ([]byte, error) {
	all := make([]workersFunction, 0, len(m.Functions))
	for _, f := range m.Functions {
		all = append(all, workersFunction{
			Name: f.Name, Image: f.Image, Addresses: f.Addresses, Paused: f.Paused, Lifecycle: f.Lifecycle, Concurrency: f.Concurrency,
			Timeout: f.Timeout, Input: f.Input, Payload: f.Payload, Retry: f.Retry,
		})
	}
	return json.Marshal(all)
}

// FromGateway decodes what ForWorkers encoded, in this version of the program or a later one: it passes over what it
// does not know.
func FromGateway(data []byte) (*Manifest, error) {
	var all []workersFunction
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("functions of the gateway: %w", err)
	}
	m := &Manifest{}
	for _, w := range all {
		f := NewFunction(w.Name)
		f.Image, f.Addresses, f.Paused, f.Input = w.Image, w.Addresses, w.Paused, w.Input
		f.Lifecycle, f.Retry = w.Lifecycle, w.Retry
		f.Payload = cmp.Or(w.Payload, PayloadPlain) // a gateway of an earlier version has none
		f.Concurrency, f.Timeout = max(1, w.Concurrency), w.Timeout
		if err := checkName(f.Name); err != nil {
			return nil, fmt.Errorf("functions of the gateway: function name %w", err)
		}
		m.Functions = append(m.Functions, f)
	}
	return m, nil
}
