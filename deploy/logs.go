package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/pkg/stdcopy"
)

// Limits of Logs.
const (
	LogLines = 100             // the last of all tasks
	LogBytes = 64 << 10        // of their text
	LogTime  = 5 * time.Second // for the engine, which asks the nodes of the tasks

	maxLogRead = 4 << 20 // of what the engine sends
)

var (
	// ErrNoService means that the swarm has no service of the name of a function.
	ErrNoService = errors.New("the swarm has no service of this name")
	// ErrLogsDenied means that something before the engine lets no logs through.
	ErrLogsDenied = errors.New("what is before Docker's socket lets no logs through: see docker service logs on a manager")
)

// LogLine is a line that a task has written.
type LogLine struct {
	Time  time.Time
	Error bool   // to its standard error
	Text  string // without control characters
}

// Logs returns the last lines that the tasks of a function's service have written, on all nodes, the oldest first. The
// engine is that of a manager. There may be lines beside an error: those of a node that does not answer are missing.
// Errors: ErrNoService, ErrLogsDenied, ErrNotManager, ErrNoEngine, ErrEngineDenied; context.DeadlineExceeded after LogTime.
func (e *Engine) Logs(ctx context.Context, function string) ([]LogLine, error) {
	ctx, cancel := context.WithTimeout(ctx, LogTime)
	defer cancel()
	service, _, err := e.docker.ServiceInspectWithRaw(ctx, function, swarm.ServiceInspectOptions{})
	if err == nil && service.Spec.Name != function { // Docker takes the beginning of an ID too
		return nil, ErrNoService
	}
	if err != nil {
		return nil, e.explainLogs(ctx, err)
	}
	stream, err := e.docker.ServiceLogs(ctx, service.ID, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: fmt.Sprint(LogLines),
	})
	if err != nil {
		return nil, e.explainLogs(ctx, err)
	}
	defer stream.Close()
	var out, errs bytes.Buffer
	limited := io.LimitReader(stream, maxLogRead)
	if c := service.Spec.TaskTemplate.ContainerSpec; c != nil && c.TTY {
		_, err = io.Copy(&out, limited)
	} else {
		_, err = stdcopy.StdCopy(&out, &errs, limited)
	}
	lines := append(logLines(out.String(), false), logLines(errs.String(), true)...)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not all nodes have answered within %s: %w", LogTime, ctx.Err())
	}
	slices.SortStableFunc(lines, func(a, b LogLine) int { return a.Time.Compare(b.Time) })
	return lastLines(lines), explain(err)
}

func (e *Engine) explainLogs(ctx context.Context, err error) error {
	switch {
	case cerrdefs.IsNotFound(err):
		return ErrNoService
	case cerrdefs.IsPermissionDenied(err):
		return fmt.Errorf("%w (%w)", ErrLogsDenied, err)
	}
	return e.explainManager(ctx, err)
}

// logLines reads lines that each begin with their time.
func logLines(text string, isError bool) (all []LogLine) {
	for line := range strings.Lines(text) {
		stamp, rest, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil { // the rest of a line that Docker has cut
			rest = line
			if n := len(all); n > 0 {
				at = all[n-1].Time
			}
		}
		all = append(all, LogLine{Time: at, Error: isError, Text: plainText(rest)})
	}
	return all
}

// lastLines are those within the limits.
func lastLines(lines []LogLine) []LogLine {
	lines = lines[max(0, len(lines)-LogLines):]
	size := 0
	for i, l := range slices.Backward(lines) {
		if size += len(l.Text); size > LogBytes {
			return lines[i+1:]
		}
	}
	return lines
}

// escapes are the sequences by which a text commands a terminal: ECMA-48 control sequences and strings, and escapes of
// two characters.
var escapes = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]`)

// plainText is a line without what could do something to who reads it: no control characters but tabs, and no marks that
// change the direction of writing.
func plainText(line string) string {
	line = escapes.ReplaceAllString(strings.ToValidUTF8(line, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, line)
}
