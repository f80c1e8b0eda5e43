//go:build swarm3

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// withNode has the gateway that stands alone on the first node, as its volume is there.
const withNode = `version: "3.9"
services: {gateway: {secrets: [github], deploy: {placement: {constraints: [node.hostname == node1]}}}}
secrets: {github: {external: true}}
`

// movePause is between two tries of what the page says to run again.
const movePause = time.Second

var (
	runAgain = regexp.MustCompile("While it says (`[^.]*`), .*run it again")
	goOnWhen = regexp.MustCompile("Go on when it has said `([^`]+)`")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// moveStep is a block of commands, and what the page says before it.
type moveStep struct {
	text, commands string
}

// moveSteps are those of a part of the section about Swarm.
func moveSteps(t *testing.T, part string) (steps []moveStep) {
	t.Helper()
	_, text, ok := strings.Cut(string(fileText(t, filepath.Join(rootDir, "docs", "cluster-move.md"))), "\n### "+part+"\n")
	if !ok {
		t.Fatalf("the page has no part %q", part)
	}
	text, _, _ = strings.Cut(text, "\n##")
	for {
		before, rest, ok := strings.Cut(text, "\n```sh\n")
		if !ok && len(steps) == 0 {
			t.Fatalf("%q has no commands", part)
		}
		if !ok {
			return steps
		}
		commands, after, _ := strings.Cut(rest, "\n```\n")
		steps, text = append(steps, moveStep{before, commands}), after
	}
}

// moved pastes the steps into a shell of the first node. Nothing is tried again but where the page says so.
func (c *cluster) moved(steps []moveStep) {
	c.Helper()
	for _, s := range steps {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(c.Context(), moveLimit)
		out, err := c.paste(ctx, s.commands)
		for err != nil && s.again(out) {
			wait(ctx, movePause)
			out, err = c.paste(ctx, s.commands)
		}
		cancel()
		if err != nil || !strings.Contains(out, s.said()) {
			c.Fatalf("%s\n%v, and not %q: %s", s.commands, err, s.said(), out)
		}
		c.Logf("%s\n(after %s)", s.commands, time.Since(begun).Round(time.Millisecond))
	}
}

// again reports whether the page says to run the step again when it has said this.
func (s moveStep) again(out string) bool {
	m := runAgain.FindStringSubmatch(s.text)
	return m != nil && slices.ContainsFunc(quoted.FindAllStringSubmatch(m[1], -1), func(q []string) bool { return strings.Contains(out, q[1]) })
}

// said is what the page wants to be said before it goes on.
func (s moveStep) said() string {
	m := goOnWhen.FindStringSubmatch(s.text)
	if m == nil {
		return ""
	}
	return m[1]
}

// moveLimit is for a step, with the gateways that stop and start.
const moveLimit = 6 * time.Minute

// paste runs commands where the backup is in the folder of the test, and the gateway that stands alone belongs to this node.
func (c *cluster) paste(ctx context.Context, commands string) (string, error) {
	c.Helper()
	one, three := write(c.T, c.dir, "node.yml", withNode), write(c.T, c.dir, "secrets.yml", withSecrets)
	place := strings.NewReplacer("/backup:", c.dir+":", "-c deploy/stack.yml", "-c "+filepath.Join(rootDir, "deploy", "stack.yml")+" -c "+one,
		"-c deploy/stack-ha.yml", "-c "+filepath.Join(rootDir, "deploy", "stack-ha.yml")+" -c "+three)
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", place.Replace(commands))
	cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+c.programs()+":"+os.Getenv("PATH"))
	cmd.WaitDelay = time.Second // a loop leaves its last command behind
	out, err := cmd.CombinedOutput()
	return string(out), errors.Join(err, ctx.Err())
}

// programs is a folder that has this program.
func (c *cluster) programs() string {
	c.Helper()
	self, err := os.Executable()
	if err != nil {
		c.Fatal(err)
	}
	dir := c.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "funker-dispatch")); err != nil {
		c.Fatal(err)
	}
	return dir
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

// dropVolumes removes those of the tests before, once their containers are gone.
func (c *cluster) dropVolumes() {
	c.Helper()
	for _, n := range []string{"1", "2", "3"} {
		var out []byte
		withinLimit(c.T, 3*time.Minute, func() string { return "the volumes of node " + n + " are gone: " + string(out) }, func() (gone bool) {
			var err error
			out, err = exec.CommandContext(c.Context(), os.Getenv("SWARM3"), "docker", n, "volume", "rm", "--force",
				"funker_data", "funker_data-a", "funker_data-b", "funker_data-c").CombinedOutput()
			return err == nil
		})
	}
}

func TestHighCluster_TakesTheEventsOfOneGatewayAndGivesThemBack(t *testing.T) {
	c := newSwarm3(t, "1")
	c.dropVolumes()
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
	c.moved(moveSteps(t, "Into the cluster of a swarm"))
	more()
	c.hasAll("in the cluster")
	c.moved(moveSteps(t, "Back to one gateway of a swarm"))
	more()
	c.hasAll("at home")
	c.moved(moveSteps(t, "Clean up, when you are content")[1:]) // the first one is for who stays in the cluster
}
