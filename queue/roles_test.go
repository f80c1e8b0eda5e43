package queue

import (
	"path/filepath"
	"testing"
	"time"
)

func TestRoles_OfAClusterFollowItsGateways(t *testing.T) {
	f := newFleet(t)
	roles := func(what string, ok func(Roles) bool) (r Roles) {
		t.Helper()
		within(t, time.Minute, what, func() (fine bool) {
			var err error
			for _, q := range f.open {
				r, err = q.Roles(t.Context())
				break
			}
			return err == nil && ok(r)
		})
		return r
	}
	whole := func(r Roles) bool { return f.open[r.Events] != nil && f.open[r.Keeper] != nil && r.Behind == 0 }
	first := roles("all have their roles", whole)
	admin, err := Dial(f.open[first.Events].URL(), filepath.Join(f.dir, first.Events, AdminKey), RoleAdmin, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := admin.Roles(t.Context())
	if err != nil || f.open[got.Events] == nil || f.open[got.Keeper] == nil {
		t.Errorf("an admin got %+v, %v", got, err)
	}
	if err := admin.Close(); err != nil {
		t.Error(err)
	}
	f.stop(first.Events)
	roles("another one leads the events, and one is away", func(r Roles) bool {
		return f.open[r.Events] != nil && f.open[r.Keeper] != nil && r.Behind > 0
	})
	f.start(first.Events)
	roles("all are there again", whole)
}

func TestRoles_OfOneThatStandsAloneAreEmpty(t *testing.T) {
	q := open(t)
	if r, err := q.Roles(t.Context()); err != nil || r != (Roles{}) {
		t.Errorf("got %+v, %v", r, err)
	}
}
