package deploy

import "sync/atomic"

// Catalog is the manifest in force. It is read on every request and replaced as
// a whole, without locks; a reader that needs two answers that agree takes one
// Manifest and asks that twice.
type Catalog struct {
	current atomic.Pointer[Manifest]
}

// NewCatalog returns a Catalog that holds m, or an empty manifest when m is nil.
func NewCatalog(m *Manifest) *Catalog {
	c := &Catalog{}
	c.Set(m)
	return c
}

// Manifest returns the manifest in force, never nil. It must not be changed.
func (c *Catalog) Manifest() *Manifest { return c.current.Load() }

// Set puts m in force; nil means an empty manifest.
func (c *Catalog) Set(m *Manifest) {
	if m == nil {
		m = &Manifest{}
	}
	c.current.Store(m)
}
