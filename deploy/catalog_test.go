package deploy_test

import (
	"sync"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestACatalogHoldsTheManifestThatWasSetLast(t *testing.T) {
	one, two := &deploy.Manifest{}, &deploy.Manifest{}
	c := deploy.NewCatalog(one)
	if got := c.Manifest(); got != one {
		t.Errorf("got %p, want the first manifest %p", got, one)
	}
	c.Set(two)
	if got := c.Manifest(); got != two {
		t.Errorf("got %p, want the second manifest %p", got, two)
	}
}

func TestACatalogWithoutManifestIsEmpty(t *testing.T) {
	c := deploy.NewCatalog(nil)
	if _, ok := c.Manifest().Function("A"); ok {
		t.Error("an empty catalog has a function")
	}
	c.Set(nil)
	if c.Manifest() == nil || c.Known() {
		t.Errorf("got %v, known %t, want an empty manifest for want of one", c.Manifest(), c.Known())
	}
	c.Set(&deploy.Manifest{})
	if !c.Known() {
		t.Error("a manifest without functions is none")
	}
}

func TestReadersOfACatalogSeeOneManifestOrTheOther(t *testing.T) {
	small := &deploy.Manifest{Functions: []*deploy.Function{deploy.NewFunction("A")}}
	large := &deploy.Manifest{Functions: []*deploy.Function{deploy.NewFunction("A"), deploy.NewFunction("B")}}
	c := deploy.NewCatalog(small)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 1000 {
				if m := c.Manifest(); m != small && m != large {
					t.Errorf("got %+v, want one of the two", m)
				}
			}
		})
	}
	for range 1000 {
		c.Set(large)
		c.Set(small)
	}
	readers.Wait()
}

func TestWhoFollowsACatalogHearsOfEachManifest(t *testing.T) {
	c := deploy.NewCatalog(nil)
	for range 3 {
		changed, next := c.Changed(), &deploy.Manifest{}
		select {
		case <-changed:
			t.Fatal("heard of a change before there was one")
		default:
		}
		c.Set(next)
		select {
		case <-changed:
		default:
			t.Fatal("did not hear of the change")
		}
		if c.Manifest() != next {
			t.Error("heard of the change before it was in force")
		}
	}
}
