package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// What the next release is called, and how its stream of outcomes is described.
const (
	nextVersion = "next"
	nextLog     = "outcome of every attempt, as the next release has it"
)

// nextRelease builds this program with streams and consumers of another format, which this one does not know.
func nextRelease(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	changed := map[string]string{}
	for file, change := range map[string][2]string{
		"format.go":  {"const format = 1", "const format = 2"},
		"streams.go": {`"outcome of every attempt"`, `"` + nextLog + `"`},
	} {
		source, err := filepath.Abs(filepath.Join(root, "queue", file))
		if err != nil {
			t.Fatal(err)
		}
		text := string(fileText(t, source))
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("%s does not have %s", file, change[0])
		}
		changed[source] = write(t, dir, file, strings.Replace(text, change[0], change[1], 1))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": changed})
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "funker-dispatch")
	build := exec.Command("go", "build", "-buildvcs=false", "-overlay", write(t, dir, "overlay.json", string(overlay)),
		"-ldflags", "-X main.version="+nextVersion, "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the next release: %v: %s", err, out)
	}
	return program
}

// update has another release in the place of a gateway.
func (s *scenario) update(f *fault, g *clusterGateway, program string) {
	f.struck(g)
	g.terminate()
	g.program = program
	g.start()
	s.await(g.name+" is ready again", g.isReady)
	s.await("all copies are current", func() bool { return len(s.cluster().Problems) == 0 })
}

// cluster is what the first gateway says that answers.
func (s *scenario) cluster() (c queue.ClusterState) {
	s.t.Helper()
	r, err := s.gateways[0].api()
	if err == nil {
		_, err = r.ask(s.t.Context(), http.MethodGet, "/api/v1/cluster", nil, "", &c)
	}
	if err != nil {
		c.Problems = []string{err.Error()}
	}
	return c
}

// releases are the versions of the gateways.
func (s *scenario) releases() (all string) {
	for _, g := range s.cluster().Gateways {
		all += g.Version + " "
	}
	return all
}

// keepsNext fails the test unless a gateway has the stream as the next release has made it.
func (s *scenario) keepsNext(when string) {
	s.t.Helper()
	for _, g := range s.gateways {
		s.await(g.name+" has the streams of the next release, "+when, func() bool {
			data, err := os.ReadFile(filepath.Join(g.data, "jetstream/jetstream/$G/streams/FUNKER_LOG/meta.inf"))
			return err == nil && strings.Contains(string(data), nextLog)
		})
	}
}

// The gateways are updated first, then the workers, and one of each goes back: nobody may undo what the other has made.
func TestUpgrade_TwoReleasesWorkSideBySide(t *testing.T) {
	forCluster(t)
	next, seed := nextRelease(t), uint64(1)
	s := &scenario{random: rand.New(rand.NewPCG(seed, 0)), trio: newTrio(t, 2)}
	s.faults = []*fault{{what: "one release after the other", kind: kind{strike: func(s *scenario, f *fault) {
		for i, g := range s.gateways {
			s.update(f, g, next)
			if got, want := s.releases(), strings.Repeat(nextVersion+" ", i+1)+strings.Repeat(version+" ", 2-i); got != want {
				t.Errorf("the gateways are %s, want %s", got, want)
			}
		}
		s.keepsNext("once all gateways are")
		s.replace(s.workers[0], next)
		s.update(f, s.gateways[1], "")
		s.replace(s.workers[1], next)
		s.replace(s.workers[0], "")
		s.keepsNext("after one went back")
	}}}}
	s.faults[0].heal = func() {}
	s.run(seed)
}

// replace has another release in the place of a worker.
func (s *scenario) replace(w *process, program string) {
	s.t.Helper()
	w.terminate()
	w.program = program
	w.start()
	s.await(w.name+" is ready again", w.isReady)
}
