//go:build swarm

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// internet is what the example functions look at, on the node: it answers to containers too.
func internet(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /astros.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"message": "success", "number": 7, "people": []}`)
	})
	mux.HandleFunc("GET /captains", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<ul><li class="captain">A</li><li class="big captain">B</li><li class="captainship">no</li><li>no</li></ul>`)
	})
	mux.HandleFunc("GET /repos/{owner}/{name}/commits", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `[{"sha": %q, "commit": {"message": "Sharpen the blade\n\nof the mill"}}]`, r.FormValue("sha"))
	})
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("DOCKERD_ADDR"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(mux)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func (n node) exampleImage(name string) string {
	n.Helper()
	dir := filepath.Join(root, "deploy/functions", name)
	for file, program := range map[string]string{"handler.js": "node", "handler.py": "python3"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return n.script("function-image", program, dir, file)
		}
	}
	program := filepath.Join(n.TempDir(), "function")
	cmd := exec.Command("go", "build", "-C", dir, "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.Fatalf("build %s: %v: %s", name, err, out)
	}
	return n.script("function-image", program, dir)
}

// example starts an example as a service of the swarm, in two tasks.
func (n node) example(name string, env ...string) {
	n.Helper()
	args := []string{"service", "create", "--detach", "--name", name, "--network", "funker", "--endpoint-mode", "dnsrr", "--replicas", "2",
		"--restart-delay", "0s", "--no-resolve-image", "--quiet"}
	for _, e := range env {
		args = append(args, "--env", e)
	}
	n.docker(append(args, n.exampleImage(name))...)
	n.Cleanup(func() { n.clean("service", "rm", name) })
}

func TestSwarm_TheExampleFunctionsAnswer(t *testing.T) {
	n := newNode(t)
	page := internet(t)
	n.docker("network", "create", "--driver", "overlay", "--attachable", "funker")
	t.Cleanup(func() { removeNetwork(t) })
	n.example("HelloIntent", "URL="+page+"/astros.json")
	n.example("HostnameIntent")
	n.example("CaptainsIntent", "URL="+page+"/captains")
	n.example("CommitFetch", "URL="+page)
	manifest := write(t, t.TempDir(), "functions.yaml", "functions: {HelloIntent: , HostnameIntent: , CaptainsIntent: {input: [session, request, version]}, CommitFetch: }\n")
	n.docker("run", "--detach", "--name", "gateway", "--network", "funker", "--volume", manifest+":/etc/funker/functions.yaml:ro", "--user", "0:0", n.image)
	t.Cleanup(func() { n.clean("rm", "--force", "--volumes", "gateway") })

	head := "5f1c3a9"
	for name, example := range map[string]struct{ request, want string }{
		"HelloIntent":    {string(trigger.Sample(trigger.Alexa)), "There are currently 7 people in space"},
		"HostnameIntent": {string(trigger.Sample(trigger.Alexa)), "My host is called"},
		"CaptainsIntent": {string(trigger.Sample(trigger.Alexa)), "There are 2 Docker captains"},
		"CommitFetch":    {`{"after":"` + head + `","repository":{"full_name":"acme/widgets"}}`, `{"id":"` + head + `","subject":"Sharpen the blade"}`},
	} {
		var got string
		for range 3 { // a one-shot task answers once
			within(t, name+" answers", func() bool {
				var err error
				got, err = n.invoke(name, example.request)
				return err == nil
			})
		}
		if !strings.Contains(got, example.want) {
			t.Errorf("%s: got %s, want %s", name, got, example.want)
		}
	}
	hosts := map[string]bool{}
	within(t, "both tasks of HostnameIntent have answered", func() bool {
		if host, err := n.invoke("HostnameIntent", "{}"); err == nil {
			hosts[host] = true
		}
		return len(hosts) == 2
	})
	within(t, "CommitFetch refuses what is no push", func() bool {
		got, err := n.invoke("CommitFetch", `{"zen":"this is a ping"}`)
		return err != nil && strings.Contains(got, "this is no push")
	})
}

// invoke calls a function through the gateway.
func (n node) invoke(function, body string) (string, error) {
	return n.try(strings.NewReader(body), "exec", "--interactive", "gateway", "/funker-dispatch", "invoke", function, "-d", "@-")
}
