package deploy

import (
	"sync"
	"sync/atomic"
)

// Catalog is the manifest in force. It is read on every request and replaced as
// a whole, without locks; a reader that needs two answers that agree takes one
// Manifest and asks that twice.
type Catalog struct {
	current atomic.Pointer[Manifest]
	known   atomic.Bool

	mu      sync.Mutex
	changed chan struct{}
}

// NewCatalog returns a Catalog that holds m, or an empty manifest when m is nil.
func NewCatalog(m *Manifest) *Catalog {
	c := &Catalog{changed: make(chan struct{})}
	c.Set(m)
	return c
}

// Manifest returns the manifest in force, never nil. It must not be changed.
func (c *Catalog) Manifest() *Manifest { return c.current.Load() }

// Known reports whether there has been a manifest yet, which may be an empty
// one. Manifest, asked afterwards, returns that one or a later one.
func (c *Catalog) Known() bool { return c.known.Load() }

// Changed returns a channel that is closed when the next Set has happened. Who
// follows the manifest asks for it before reading Manifest, and misses nothing.
func (c *Catalog) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Set puts m in force; nil means an empty manifest, for want of one.
func (c *Catalog) Set(m *Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m == nil {
		c.current.Store(&Manifest{})
	} else {
		c.current.Store(m)
		c.known.Store(true)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Paused reports whether a function of the manifest in force is paused.
func (c *Catalog) Paused(function string) bool {
	f, ok := c.Manifest().Function(function)
	return ok && f.Paused
}
