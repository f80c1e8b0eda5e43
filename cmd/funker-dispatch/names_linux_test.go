package main

import (
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	nameServer = "127.0.0.53"
	namedTask  = 9999 // where a function is found by its name
)

// launchNamed starts a command on this machine that asks nameServer for names.
func (m *machine) launchNamed(resolv string) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		cmd.Args = append([]string{"sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		return m.do(cmd.Start)
	}
}

func TestNames_WhileNobodyKnowsThemEventsWaitAndNoAttemptIsMade(t *testing.T) {
	t.Parallel()
	m, j := newMachine(t, "names"), newJournal(t)
	l, err := m.listen(namedTask)
	if err != nil {
		t.Fatal(err)
	}
	j.taskAt(l)
	s := newSwarm(t, "functions:\n  Named: {timeout: 5s}\ntriggers:\n  - {github: named, path: /named, secret-file: secret, function: Named}\n")
	admin, worker := fixedAddress(t), s.workers[0]
	s.gateway.args = append(s.gateway.args, "--admin", admin, "--docker", "off")
	_, port, _ := strings.Cut(s.nats, ":")
	worker.args = append(worker.args, "--nats-url", "nats://gateway.test:"+port, "--docker", "off")
	names := newProcess(t, "names", "", "-dns01", nameServer+":53", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "")
	names.program = need(t, "pebble-challtestsrv")
	resolv := write(t, t.TempDir(), "resolv.conf", "nameserver "+nameServer+"\noptions timeout:1 attempts:1\n")
	for _, p := range []*process{names, s.gateway, worker} {
		p.launch = m.launchNamed(resolv)
	}
	from := newSender(t, s.public)
	from.client.Transport = &http.Transport{DialContext: m.dial}
	names.start()
	s.start()
	from.mustDeliver(work{ID: "first", Plan: planOK}, "Named")
	within(t, "the first one has run", func() bool { return j.count("first") == 1 })

	names.freeze()
	from.mustDeliver(work{ID: "second", Plan: planOK}, "Named")
	s.gateway.terminate()
	s.startGateway() // whose workers have to find it again
	from.mustDeliver(work{ID: "third", Plan: planOK}, "Named")
	if n := j.count("second") + j.count("third"); n > 0 {
		t.Fatalf("%d ran: names are known all the same", n)
	}
	names.signal(syscall.SIGCONT)
	r := &remote{
		base: &url.URL{Scheme: "http", Host: admin}, token: strings.TrimSpace(string(fileText(t, filepath.Join(s.data, tokenFile)))),
		client: &http.Client{Transport: &http.Transport{DialContext: m.dial, DisableKeepAlives: true}},
	}
	for _, id := range []string{"second", "third"} {
		var record queue.Record
		withinLimit(t, time.Minute, func() string { return id + " has run: " + showRecords([]queue.Record{record}) }, func() bool {
			_, err := r.ask(t.Context(), http.MethodGet, "/api/v1/events/"+from.pushes[id].event, nil, "", &record)
			return err == nil && record.State == queue.StateOK && len(record.Attempts) > 0
		})
		if len(record.Attempts) != 1 || j.count(id) != 1 {
			t.Errorf("%s ran %d times:%s", id, j.count(id), showRecords([]queue.Record{record}))
		}
	}
}
