package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const monitoring = root + "/deploy/prometheus"

// alert is a rule of alerts.yml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(fileText(t, monitoring+"/alerts.yml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("there are only %d alerts", len(all))
	}
	return all
}

// panelQueries are the expressions of the dashboard, by the title of their panel, without its variables.
func panelQueries(t *testing.T) map[string][]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(fileText(t, root+"/deploy/grafana/funker-dispatch.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	values := strings.NewReplacer("$job", "funker-dispatch", "$instance", ".*", "$function", ".*", "$__rate_interval", "1m")
	queries := map[string][]string{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], values.Replace(target.Expr))
		}
	}
	if len(queries) < 20 {
		t.Fatalf("the dashboard has only %d panels", len(queries))
	}
	return queries
}

func fileText(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMonitoring_NamesWhatTheGatewayServes(t *testing.T) {
	cert, key := newAuthority(t).valid().save(t, t.TempDir())
	_, scrape := monitored(t, "--tls-cert", cert, "--tls-key", key)
	c := newLoopbackTrio(t)
	c.start()
	served := map[string]bool{"up": true} // of Prometheus itself
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)(?:\{| )`).FindAllStringSubmatch(scrape()+c.gateways[0].metrics(), -1) {
		served[m[1]] = true
	}
	name := regexp.MustCompile(`\b(?:funker|process|go)_[a-z_]+\b|\bup\b`)
	expressions := panelQueries(t)
	for _, a := range alerts(t) {
		expressions[a.Alert] = append(expressions[a.Alert], a.Expr)
	}
	for where, all := range expressions {
		for _, e := range all {
			e = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(e, `""`)
			names := name.FindAllString(e, -1)
			if len(names) == 0 {
				t.Errorf("%s names no metric: %s", where, e)
			}
			for _, n := range names {
				if !served[n] {
					t.Errorf("%s: %s is not served", where, n)
				}
			}
		}
	}
}

// monitored is a gateway that has run an event, and what it serves to Prometheus with the token for looking.
func monitored(t *testing.T, args ...string) (gatewayUnderTest, func() string) {
	t.Helper()
	function, _ := startFunction(t, "echo")
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Echo: {addresses: [%q]}}", function)), args...)
	mustCLI(t, "invoke", "Echo", "--async", "-d", "1", "--nats-url", g.nats, "--data", g.data)
	token := strings.TrimSpace(string(fileText(t, filepath.Join(g.data, readTokenFile))))
	scrape := func() string {
		status, body := fetchWith(t, g.admin+"/metrics", token)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return body
	}
	within(t, "the gateway has counted the attempt", func() bool {
		s := scrape()
		return strings.Contains(s, `funker_attempt_duration_seconds_count{function="Echo",outcome="ok"} 1`) && strings.Contains(s, "\nfunker_conservation_drift 0\n")
	})
	return g, scrape
}

func fetchWith(t *testing.T, address, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func TestMonitoring_EachAlertSaysWhatToDo(t *testing.T) {
	docs := documents(t)
	link := regexp.MustCompile(`^https://github\.com/funker-dispatch/funker-dispatch/blob/main/(docs/[a-z]+\.md)(?:#([a-z-]+))?$`)
	page := docs["docs/monitoring.md"]
	for _, a := range alerts(t) {
		m := link.FindStringSubmatch(a.Annotations["runbook_url"])
		if m == nil || docs[m[1]] == "" || m[2] != "" && !slices.Contains(anchors(docs[m[1]]), m[2]) {
			t.Errorf("%s: no such part of the documentation: %s", a.Alert, a.Annotations["runbook_url"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" || !slices.Contains([]string{"page", "ticket"}, a.Labels["severity"]) {
			t.Errorf("%s lacks something: %+v", a.Alert, a)
		}
		if !strings.Contains(page, "`"+a.Alert+"`") {
			t.Errorf("docs/monitoring.md does not have %s", a.Alert)
		}
	}
}

func TestMonitoring_TheRulesFireWhenTheyShould(t *testing.T) {
	promtool := need(t, "promtool")
	if out, err := exec.Command(promtool, "test", "rules", monitoring+"/alerts_test.yml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMonitoring_APrometheusTakesAllOfIt(t *testing.T) {
	prometheus, dir := need(t, "prometheus"), t.TempDir()
	g, _ := monitored(t)
	write(t, dir, "alerts.yml", string(fileText(t, monitoring+"/alerts.yml")))
	write(t, dir, readTokenFile, string(fileText(t, filepath.Join(g.data, readTokenFile))))
	config := strings.NewReplacer("15s", "1s", "127.0.0.1:3001", strings.TrimPrefix(g.admin, "http://")).Replace(string(fileText(t, monitoring+"/prometheus.yml")))
	file, address := write(t, dir, "prometheus.yml", config), fixedAddress(t)
	cmd := exec.Command(prometheus, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+address)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		if err := cmd.Wait(); t.Failed() {
			t.Logf("prometheus: %v\n%s", err, &log)
		}
	})
	api := "http://" + address + "/api/v1/"
	query := func(expression string) string {
		_, body := fetchWith(t, api+"query?query="+url.QueryEscape(expression), "")
		return body
	}
	within(t, "Prometheus has the numbers of the gateway", func() bool {
		return strings.Contains(query(`funker_conservation_drift{job="funker-dispatch"} == 0`), `"value":[`)
	})
	for title, all := range panelQueries(t) {
		for _, e := range all {
			if got := query(e); !strings.Contains(got, `"status":"success"`) {
				t.Errorf("%s: %s\n%s", title, e, got)
			}
		}
	}
	want := len(alerts(t))
	within(t, "all rules are evaluated", func() bool { return evaluated(t, api) == want })
}

// evaluated is how many rules Prometheus has evaluated. None may have failed, or fire.
func evaluated(t *testing.T, api string) (n int) {
	t.Helper()
	status, body := fetchWith(t, api+"rules", "")
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name, Health, LastError, State string
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		t.Fatalf("%d %v %s", status, err, body)
	}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			switch {
			case r.Health == "err", r.State == "firing":
				t.Fatalf("rule %+v", r)
			case r.Health == "ok":
				n++
			}
		}
	}
	return n
}
