package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process is a command line in a process of its own, which may be killed, stopped and started again. When it ends by
// itself, the test has failed.
type process struct {
	t     *testing.T
	name  string
	ready string // what its log says once it works
	args  []string
	env   []string // more of the environment
	log   string   // file; all starts write to it

	launch  func(*exec.Cmd) error // nil: on this machine
	mayEnd  bool                  // by itself: somebody starts it again
	program string                // file; "" is this program

	cmd    *exec.Cmd
	from   int64 // where the log of the last start begins
	ending *atomic.Bool
	ended  chan struct{}
}

func newProcess(t *testing.T, name, ready string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, ready: ready, args: args, log: filepath.Join(t.ArtifactDir(), name+".log")}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", name, tail(p.text(0), 40))
		}
	})
	return p
}

// start does not wait until the process works.
func (p *process) start() {
	p.t.Helper()
	program := p.program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			p.t.Fatal(err)
		}
	}
	log, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	if p.from, err = log.Seek(0, io.SeekEnd); err != nil {
		p.t.Fatal(err)
	}
	cmd, ending, ended := exec.Command(program, p.args...), new(atomic.Bool), make(chan struct{})
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), p.env...)
	cmd.Stderr = log
	launch := p.launch
	if launch == nil {
		launch = (*exec.Cmd).Start
	}
	if err := launch(cmd); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ending, p.ended = cmd, ending, ended
	go func() {
		defer close(ended)
		if err := cmd.Wait(); !ending.Load() && !p.mayEnd {
			p.t.Errorf("%s has ended by itself: %v", p.name, err)
		}
	}()
}

// text is what was logged since an offset.
func (p *process) text(from int64) string {
	f, err := os.Open(p.log)
	if err != nil {
		return "" // not started yet
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, from, math.MaxInt64-from))
	if err != nil {
		p.t.Error(err)
	}
	return string(data)
}

func (p *process) isReady() bool { return strings.Contains(p.text(p.from), p.ready) }

func (p *process) awaitReady() {
	p.t.Helper()
	within(p.t, p.name+" is ready", func() bool {
		if p.hasEnded() {
			p.t.Fatalf("%s has ended: %s", p.name, tail(p.text(p.from), 10))
		}
		return p.isReady()
	})
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.ending.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// terminate stops the process as an operator does, and fails the test when it did not end well.
func (p *process) terminate() {
	p.t.Helper()
	p.ending.Store(true)
	p.signal(syscall.SIGTERM)
	within(p.t, p.name+" has stopped", p.hasEnded)
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		p.t.Errorf("%s: exit code %d", p.name, code)
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%v to %s: %v", s, p.name, err)
	}
}

// freeze returns when the process runs no more, until it gets SIGCONT.
func (p *process) freeze() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	within(p.t, p.name+" has stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			p.t.Fatalf("threads of %s: %v", p.name, err)
		}
		return !slices.ContainsFunc(threads, func(file string) bool {
			data, err := os.ReadFile(file)
			return err == nil && !strings.Contains(string(data), ") T ")
		})
	})
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// fixedAddress returns a free loopback address for a listener that comes and goes. Its port is none of those which the
// kernel gives to connections: one of these could take it while the listener is away.
func fixedAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.N(22000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return ""
}

// swarm is a gateway without a worker, and workers, each in a process of its own.
type swarm struct {
	t        *testing.T
	data     string
	manifest string
	public   string // address
	nats     string // address
	gateway  *process
	workers  []*process
}

const hookSecret = "hook"

// newSwarm starts nothing yet. Each worker has a manifest of its own, so that it may call tasks of its own; the first
// one is the gateway's as well.
func newSwarm(t *testing.T, manifests ...string) *swarm {
	t.Helper()
	dir := t.ArtifactDir()
	write(t, dir, "secret", hookSecret)
	s := &swarm{t: t, data: filepath.Join(dir, "data"), public: fixedAddress(t), nats: fixedAddress(t)}
	for i, text := range manifests {
		file := write(t, dir, fmt.Sprintf("functions%d.yaml", i), text)
		if i == 0 {
			s.manifest = file
			s.gateway = newProcess(t, "gateway", "msg=ready", "serve", "--no-worker", "--functions", "--manifest", file, "--data", s.data,
				"--listen", s.public, "--admin", "127.0.0.1:0", "--nats-listen", s.nats, "--ack-wait", shortAckWait.String())
		}
		s.workers = append(s.workers, newProcess(t, fmt.Sprintf("worker%d", i), "worker ready", s.workerArgs(file, s.nats)...))
	}
	return s
}

// shortAckWait makes what a killed worker had run again soon.
const shortAckWait = 3 * time.Second

func (s *swarm) workerArgs(manifest, nats string) []string {
	return []string{"worker", "--nats-url", "nats://" + nats, "--key", filepath.Join(s.data, "worker.nk"), "--manifest", manifest}
}

// startGateway also makes the keys that the workers need.
func (s *swarm) startGateway() {
	s.t.Helper()
	s.gateway.start()
	s.gateway.awaitReady()
}

func (s *swarm) start() {
	s.t.Helper()
	s.startGateway()
	for _, w := range s.workers {
		w.start()
	}
	for _, w := range s.workers {
		w.awaitReady()
	}
}

func (s *swarm) processes() []*process { return append([]*process{s.gateway}, s.workers...) }
