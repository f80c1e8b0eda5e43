package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const unit = stacks + "/systemd/funker-dispatch.service"

func TestUnit_IsValidAndHardened(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable() // systemd looks whether the program is there
	if err != nil {
		t.Fatal(err)
	}
	installed := strings.Replace(string(text), "/usr/local/bin/funker-dispatch", self, 1)
	file := write(t, t.TempDir(), filepath.Base(unit), installed)
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	// 20 of 100: what is left is that it may talk to any address.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUnit_CommandsAndFlagsExist(t *testing.T) {
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ExecStart=\S+/funker-dispatch (.*)$`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatal("there is no ExecStart")
	}
	if fault := check(strings.Fields(m[1])); fault != "" {
		t.Errorf("%s: %s", m[1], fault)
	}
}
