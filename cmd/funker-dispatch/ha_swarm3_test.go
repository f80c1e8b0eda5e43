//go:build swarm3

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withSecrets gives the gateways the secret of the trigger besides that of the cluster.
const withSecrets = `version: "3.9"
services: {gateway-a: {secrets: [github]}, gateway-b: {secrets: [github]}, gateway-c: {secrets: [github]}}
secrets: {github: {external: true}}
`

// newHighCluster has a gateway on each of three nodes, which are all managers.
func newHighCluster(t *testing.T) *cluster {
	t.Helper()
	c := newSwarm3(t, "1", "2", "3")
	c.makeManagers()
	begin := time.Now()
	c.docker("stack", "deploy", "--compose-file", filepath.Join(rootDir, "deploy", "stack-ha.yml"),
		"--compose-file", write(t, c.dir, "secrets.yml", withSecrets), "funker")
	c.awaitWhole("the gateways have found each other")
	t.Logf("the gateways had found each other %s after the stack was deployed", time.Since(begin).Round(time.Millisecond))
	c.apply(6, "one")
	return c
}

// makeManagers makes all nodes managers, with the labels and the secret of the gateways.
func (c *cluster) makeManagers() {
	c.Helper()
	for i, name := range []string{"a", "b", "c"} {
		c.docker("node", "update", "--role", "manager", "--label-add", "funker.gateway="+name, fmt.Sprintf("node%d", i+1))
	}
	if out, err := c.try(strings.NewReader(mustCLI(c.T, "cluster", "key")), "secret", "create", "funker-cluster", "-"); err != nil {
		c.Fatalf("create secret: %v: %s", err, out)
	}
}

// awaitWhole waits until all gateways are there, and their copies current, as the one on this node says.
func (c *cluster) awaitWhole(what string) {
	c.Helper()
	var stdout, stderr string
	withinLimit(c.T, 3*time.Minute, func() string { return what + ": " + stdout + stderr }, func() bool {
		var code int
		code, stdout, stderr = cli(c.T, "cluster", "status")
		return code == exitOK
	})
	if c.Failed() {
		c.FailNow()
	}
}

// deliveryLimit is how long a delivery may take, with all that was sent again, while one gateway is gone.
const deliveryLimit = 10 * time.Second

// during tells how long deliveries took at most while f ran.
func (c *cluster) during(what string, f func()) time.Duration {
	c.Helper()
	c.slowest.Store(0)
	repeated, begin := c.repeated.Load(), time.Now()
	f()
	c.awaitAccepted(c.accepted.Load() + 100) // those that were under way are counted
	slowest := time.Duration(c.slowest.Load())
	c.Logf("%s took %s; the slowest delivery took %s, and %d were sent again", what, time.Since(begin).Round(time.Millisecond), slowest.Round(time.Millisecond), c.repeated.Load()-repeated)
	return slowest
}

func TestHighCluster_LosesNoEventWithANodeNorWithAllNorWhileItIsUpdated(t *testing.T) {
	c := newHighCluster(t)
	stop := c.send()
	c.awaitAccepted(100)

	if d := c.during("the crash of a node", func() {
		c.swarm3("kill", "3")
		c.awaitAccepted(c.accepted.Load() + 200)
	}); d > deliveryLimit {
		t.Errorf("a delivery took %s", d)
	}
	c.during("the return of the node", func() {
		c.swarm3("start", "3")
		c.awaitWhole("the copies of the node that was gone are current again")
	})
	if d := c.during("the update of all gateways", func() {
		for _, name := range []string{"a", "b", "c"} {
			c.docker("service", "update", "--force", "funker_gateway-"+name)
			c.awaitWhole("gateway " + name + " is there again")
		}
	}); d > deliveryLimit {
		t.Errorf("a delivery took %s", d)
	}
	c.during("the crash of all nodes at once", func() {
		for _, n := range []string{"1", "2", "3"} {
			c.swarm3("kill", n)
		}
		for _, n := range []string{"1", "2", "3"} {
			c.swarm3("start", n)
		}
		c.awaitWhole("all start by themselves")
	})
	stop()
	var balance string
	withinLimit(t, 3*time.Minute, func() string { return fmt.Sprintf("all %d events have ended: %s", c.accepted.Load(), balance) }, func() bool {
		b := c.balance()
		balance = fmt.Sprintf("%+v", b)
		return b.Succeeded == c.accepted.Load() && b.Accepted == b.Succeeded && b.Dead == 0 && b.Drift == 0
	})
	t.Logf("all have ended: %s", balance)
}
