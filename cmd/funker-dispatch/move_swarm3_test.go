//go:build swarm3

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withNode has the gateway that stands alone on the first node, as its volume is there.
const withNode = `version: "3.9"
services: {gateway: {secrets: [github], deploy: {placement: {constraints: [node.hostname == node1]}}}}
secrets: {github: {external: true}}
`

// moved runs the commands of docs/cluster-move.md on the first node. What cannot be done yet is tried again.
func (c *cluster) moved(lines []string) {
	c.Helper()
	one, three := write(c.T, c.dir, "node.yml", withNode), write(c.T, c.dir, "secrets.yml", withSecrets)
	place := strings.NewReplacer("/backup:", c.dir+":", "-c deploy/stack.yml", "-c "+filepath.Join(rootDir, "deploy", "stack.yml")+" -c "+one,
		"-c deploy/stack-ha.yml", "-c "+filepath.Join(rootDir, "deploy", "stack-ha.yml")+" -c "+three)
	gateway := ""
	for _, line := range lines {
		begun, last := time.Now(), ""
		if strings.HasPrefix(line, "gateway=") {
			gateway = line + "\n"
			continue
		}
		withinLimit(c.T, 4*time.Minute, func() string { return line + ": " + last }, func() bool {
			if args, ours := strings.CutPrefix(line, "funker-dispatch "); ours {
				code, stdout, stderr := cli(c.T, strings.Fields(args)...)
				last = stdout + stderr
				return code == exitOK
			}
			out, err := exec.CommandContext(c.Context(), "sh", "-c", gateway+place.Replace(line)).CombinedOutput()
			last = string(out)
			return err == nil
		})
		if c.Failed() {
			c.FailNow()
		}
		c.Logf("%s (after %s)", line, time.Since(begun).Round(time.Millisecond))
	}
}

// hasAll waits until everything that was accepted has succeeded, once.
func (c *cluster) hasAll(where string) {
	c.Helper()
	var got string
	withinLimit(c.T, 3*time.Minute, func() string { return fmt.Sprintf("%d events have ended %s: %s", c.accepted.Load(), where, got) }, func() bool {
		b := c.balance()
		got = fmt.Sprintf("%+v", b)
		return b.Succeeded == c.accepted.Load() && b.Accepted == b.Succeeded && b.Dead == 0 && b.Drift == 0
	})
}

func TestHighCluster_TakesTheEventsOfOneGatewayAndGivesThemBack(t *testing.T) {
	c := newSwarm3(t, "1")
	for _, n := range []string{"1", "2", "3"} { // of the tests before
		c.swarm3("docker", n, "volume", "rm", "--force", "funker_data", "funker_data-a", "funker_data-b", "funker_data-c")
	}
	c.makeManagers()
	c.docker("stack", "deploy", "--compose-file", filepath.Join(rootDir, "deploy", "stack.yml"), "--compose-file", write(t, c.dir, "node.yml", withNode), "funker")
	c.apply(3, "one")
	more := func() {
		stop := c.send()
		c.awaitAccepted(c.accepted.Load() + 50)
		stop()
	}
	more()
	c.hasAll("before")
	_, section, _ := strings.Cut(string(fileText(t, filepath.Join(rootDir, "docs", "cluster-move.md"))), "\n## On Swarm\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var steps [][]string
	for _, block := range blocks(section, "sh") {
		steps = append(steps, strings.Split(block, "\n"))
	}
	if len(steps) != 3 {
		t.Fatalf("the page has %d steps", len(steps))
	}
	c.moved(steps[0])
	c.moved(steps[1])
	more()
	c.hasAll("in the cluster")
	c.moved(steps[2])
	more()
	c.hasAll("at home")
}
