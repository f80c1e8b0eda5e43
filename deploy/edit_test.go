package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// TestSetPaused_ChangesNothingElse pauses each function and lets it go on.
func TestSetPaused_ChangesNothingElse(t *testing.T) {
	const before = `# all of it
version: "2"
functions: # ours
  Block:
    # first a remark
    image: a # the image

    replicas: {min: 1, max: 3}
  Plain: # nothing is said of it
  Tilde: ~
  Empty: {}
  Flow: {timeout: 5s} # short
  "ünï: 😀":
    timeout: 5s
triggers: []
`
	for function, want := range map[string]string{
		"Block":  "    # first a remark\n    paused: true\n    image: a # the image\n",
		"Plain":  "  Plain: {paused: true} # nothing is said of it\n",
		"Tilde":  "  Tilde: {paused: true}\n",
		"Empty":  "  Empty: {paused: true}\n",
		"Flow":   "  Flow: {paused: true, timeout: 5s} # short\n",
		"ünï: 😀": "  \"ünï: 😀\":\n    paused: true\n    timeout: 5s\n",
	} {
		for name, convert := range map[string]func(string) string{
			"as it is": func(s string) string { return s },
			"CRLF":     func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") },
		} {
			text := convert(before)
			paused := mustEdit(t, text, function, true)
			if !strings.Contains(strings.ReplaceAll(paused, "\r\n", "\n"), want) {
				t.Errorf("%s, %s: got\n%s", function, name, paused)
			}
			if again := mustEdit(t, paused, function, true); again != paused {
				t.Errorf("%s, %s: pausing it twice changes\n%s", function, name, again)
			}
			resumed := mustEdit(t, paused, function, false)
			if resumed != text && function != "Tilde" && function != "Empty" { // these lose ~ and {}, which say nothing
				t.Errorf("%s, %s: went on as\n%s", function, name, resumed)
			}
		}
	}
}

func mustEdit(t *testing.T, text, function string, paused bool) string {
	t.Helper()
	after, err := deploy.SetPaused([]byte(text), function, paused)
	if err != nil {
		t.Fatalf("%s: %v in\n%s", function, err, text)
	}
	m, err := deploy.Check("after", after)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := m.Function(function); !ok || f.Paused != paused {
		t.Fatalf("%s is paused: %v, want %v", function, !paused, paused)
	}
	return string(after)
}

func TestSetPaused_KeepsTheRemarkOfAPerson(t *testing.T) {
	got := mustEdit(t, "functions:\n  A:\n    paused: true # until the disk is there\n    timeout: 5s\n", "A", false)
	if want := "functions:\n  A:\n    paused: false # until the disk is there\n    timeout: 5s\n"; got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestSetPaused_EditsJSON(t *testing.T) {
	const text = `{"functions": {"A": null, "B": {"image": "b:1"}, "C": {"image": "c:1", "replicas": {"max": 2}}}, "triggers": []}`
	for function, want := range map[string]string{"A": `"A": {"paused": true}, "B"`, "B": `"B": {"paused": true, "image": "b:1"}`} {
		got := mustEdit(t, text, function, true)
		if !strings.Contains(got, want) {
			t.Errorf("got %s", got)
		}
		mustEdit(t, got, function, false)
	}
	got, err := deploy.SetReplicas([]byte(text), "C", deploy.Replicas{Min: 2, Max: 9})
	if want := `"replicas": {"min": 2, "max": 9}`; err != nil || !strings.Contains(string(got), want) {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err = deploy.SetReplicas([]byte(text), "B", deploy.Replicas{Min: 2, Max: 9}); err != nil || !strings.Contains(string(got), `"replicas": {"min": 2, "max": 9}`) {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestSetReplicas_WritesThemWhereTheyAre(t *testing.T) {
	const head, tail = "functions:\n  A:\n    image: a # remark\n", "triggers:\n"
	for before, want := range map[string]string{
		"":                                       "functions:\n  A:\n    replicas: {min: 2, max: 6}\n    image: a # remark\n" + tail,
		"    replicas: {min: 1, max: 3} # few\n": head + "    replicas: {min: 2, max: 6} # few\n" + tail,
		"    replicas: {max: 3}\n":               head + "    replicas: {min: 2, max: 6}\n" + tail,
		"    replicas:\n      max: 3 # most\n      min: 1\n":       head + "    replicas:\n      max: 6 # most\n      min: 2\n" + tail,
		"    replicas:\n      # few\n      min: 9\n      max: 9\n": head + "    replicas:\n      # few\n      min: 2\n      max: 6\n" + tail,
		"    replicas:\n": head + "    replicas: {min: 2, max: 6}\n" + tail,
	} {
		got, err := deploy.SetReplicas([]byte(head+before+tail), "A", deploy.Replicas{Min: 2, Max: 6})
		if err != nil || string(got) != want {
			t.Errorf("%q: got\n%s%v", before, got, err)
		}
	}
}

func TestSetReplicas_RefusesWhatMakesNoSense(t *testing.T) {
	const text = "functions:\n  A: {image: a}\n  B:\n"
	for _, r := range []deploy.Replicas{{Min: -1, Max: 1}, {Min: 3, Max: 2}, {Min: 0, Max: 0}, {Min: 1, Max: 1001}} {
		if _, err := deploy.SetReplicas([]byte(text), "A", r); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	good := deploy.Replicas{Min: 1, Max: 2}
	if _, err := deploy.SetReplicas([]byte(text), "B", good); !errors.Is(err, deploy.ErrNotDeployed) {
		t.Errorf("without image: got %v", err)
	}
	if _, err := deploy.SetReplicas([]byte(text), "C", good); !errors.Is(err, deploy.ErrNotNamed) {
		t.Errorf("not named: got %v", err)
	}
	var faults deploy.Faults
	if _, err := deploy.SetPaused([]byte("functions: {A: {timeout: 5}}"), "A", true); !errors.As(err, &faults) {
		t.Errorf("with a fault: got %v", err)
	}
	for _, text := range []string{"functions:\r\n  A:\n", `{"version": "1.0", "services": [{"name": "A", "image": "a"}]}`} {
		if got, err := deploy.SetPaused([]byte(text), "A", true); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// FuzzSetPaused holds that the text of a manifest either stays what it is but for one key, or is refused.
func FuzzSetPaused(f *testing.F) {
	f.Add("functions:\n  A:\n    image: a\n", "A")
	f.Add("functions: {A: , B: {paused: false}}\n", "A")
	f.Add("{\"functions\": {\"A\": null}}", "A")
	f.Add("functions:\n- A\n", "A")
	f.Add("functions:\n  ? A\n", "A")
	f.Add("functions:\n  A: {paused: true}", "A")
	f.Add("functions:\n  A: # x\n    paused: true", "A")
	f.Fuzz(func(t *testing.T, text, function string) {
		before, err := deploy.Check("m", []byte(text))
		if err != nil {
			return
		}
		for _, paused := range []bool{true, false} {
			after, err := deploy.SetPaused([]byte(text), function, paused)
			if err != nil {
				continue
			}
			m, err := deploy.Check("m", after)
			if err != nil {
				t.Fatalf("%q became %q: %v", text, after, err)
			}
			if got, _ := m.Function(function); got.Paused != paused || len(deploy.Compare(before, m)) > 1 {
				t.Fatalf("%q became %q", text, after)
			}
		}
	})
}
