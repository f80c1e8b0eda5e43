package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

var (
	// lookingCommand finds the commands that look at what is stored and run it again, ours and those of others.
	lookingCommand = regexp.MustCompile(`^(funker-dispatch (events|dead|stats)\b|nats (req|stream) |curl .*/api/v1/)`)
	// runApart have tests of their own: TestDocs_CommandsOfTheManifestAndTheStreamRun, TestDocs_CommandsThatChangeFunctionsRun,
	// TestDocs_CommandsThatTestAndCallRun.
	runApart  = regexp.MustCompile(`/api/v1/(manifest|stream|functions/|triggers/)|--nats-creds`)
	aboutDead = regexp.MustCompile(`funker-dispatch dead|FUNKER_DEAD|funker\.dead|/api/v1/dead`)

	documentedID    = regexp.MustCompile(`\b01[0-9A-Z]{24}\b`)
	documentedPlace = regexp.MustCompile(`(FUNKER_DEAD(?:/|%2F| ))\d+`)
)

// reader is somebody who tries the commands of the documents, one after the other.
type reader struct{ *workshop }

// receive stores an event that came through a trigger: a source that nothing came through is an error.
func (r reader) receive(source string) {
	r.t.Helper()
	q, err := queue.Dial(r.nats, filepath.Join(r.data, queue.AdminKey), queue.RoleAdmin, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = q.Publish(r.t.Context(), &queue.Event{Source: source, Function: "CommitCount", Body: []byte(`{"n":0}`)})
	if err := errors.Join(err, q.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// die stores an event that becomes a dead letter.
func (r reader) die() (id, sequence string) {
	r.t.Helper()
	r.fault.Store(&funker.Failure{Message: "the blade is broken"})
	defer r.fault.Store(nil)
	id = r.send("CommitCount", `{"n":1}`)
	var letter queue.DeadLetter
	within(r.t, "the event is dead", func() bool {
		code, stdout, _ := cli(r.t, r.args([]string{"dead", "show", id, "-o", "json"})...)
		return code == exitOK && json.Unmarshal([]byte(stdout), &letter) == nil
	})
	_, sequence, _ = strings.Cut(letter.Origin, "/")
	return id, sequence
}

var bodyFile = regexp.MustCompile(`@\w+\.json`)

// try runs a command, on an event of its own.
func (r reader) try(line string) {
	r.t.Helper()
	if aboutDead.MatchString(line) {
		id, sequence := r.die()
		line = documentedPlace.ReplaceAllString(documentedID.ReplaceAllLiteralString(line, id), "${1}"+sequence)
	} else if documentedID.MatchString(line) {
		line = documentedID.ReplaceAllLiteralString(line, r.send("CommitCount", `{"n":1}`))
	}
	line = bodyFile.ReplaceAllStringFunc(line, func(name string) string { return "@" + write(r.t, r.t.TempDir(), name[1:], `{"n":3}`) })
	switch args, ours := strings.CutPrefix(line, "funker-dispatch "); {
	case ours && strings.HasSuffix(args, "tail"):
		r.tryTail(strings.Fields(args))
	case ours:
		r.cli(words(args)...)
	default:
		r.tryShell(strings.NewReplacer("http://127.0.0.1:3001", r.admin, "curl ", "curl -fsS ").Replace(line))
	}
}

// words are those of a command line, of which some are in single quotes.
func words(line string) (all []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all = append(all, part)
			continue
		}
		all = append(all, strings.Fields(part)...)
	}
	return all
}

func (r reader) tryShell(line string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "sh", "-c", line)
	cmd.Dir = filepath.Dir(r.data)
	cmd.Env = append(os.Environ(), "NATS_URL="+r.nats, "NATS_NKEY=data/admin.nk")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "Nats-Service-Error") || strings.Contains(string(out), "No responders") {
		r.t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// tryTail ends the command, which does not end by itself, when it has printed something.
func (r reader) tryTail(args []string) {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	var out buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, r.args(args), &out, io.Discard) }()
	within(r.t, "tail prints an attempt", func() bool {
		r.send("CommitCount", `{"n":2}`)
		return out.String() != ""
	})
	stop()
	if code := <-done; code != exitOK {
		r.t.Errorf("%v: exit code %d", args, code)
	}
}

func TestDocs_CommandsThatLookAndReplayRun(t *testing.T) {
	need(t, "nats")
	need(t, "curl")
	r := reader{newWorkshop(t, "CommitCount", "HelloIntent")}
	r.cli("invoke", "HelloIntent") // FUNKER_CALLS/1
	r.receive("github-acme")
	tried := 0
	for _, text := range documents(t) {
		for _, block := range blocks(text, "sh") {
			for line := range strings.Lines(block) {
				if lookingCommand.MatchString(line) && !runApart.MatchString(line) {
					r.try(strings.TrimSpace(line))
					tried++
				}
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d commands were found", tried)
	}
}
