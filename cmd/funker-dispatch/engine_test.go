package main

import (
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestTheEngineIsFoundInTheOrderOfTheFlags(t *testing.T) {
	for name, c := range map[string]struct{ flag, socket, host, want string }{
		"flag":          {"/run/a.sock", "/run/b.sock", "tcp://c:2375", "unix:///run/a.sock"},
		"flag is off":   {"off", "/run/b.sock", "tcp://c:2375", ""},
		"address":       {"tcp://a:2375", "", "", "tcp://a:2375"},
		"DOCKER_SOCKET": {"", "/run/b.sock", "tcp://c:2375", "unix:///run/b.sock"},
		"DOCKER_HOST":   {"", "", "unix:///run/c.sock", "unix:///run/c.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_SOCKET", c.socket)
			t.Setenv("DOCKER_HOST", c.host)
			e := engineFlags{docker: c.flag}
			if got := e.host(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, err := (&engineFlags{docker: "docker"}).open(deploy.OpenEngine); err == nil {
		t.Error("an address without a scheme was taken")
	}
}
