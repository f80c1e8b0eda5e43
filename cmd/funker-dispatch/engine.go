package main

import (
	"cmp"
	"context"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

const (
	defaultSocket = "/var/run/docker.sock"
	engineOff     = "off"
)

// engineFlags say which Docker Engine knows the tasks of this node.
type engineFlags struct {
	docker  string
	network string
	node    string
}

func (e *engineFlags) add(f *pflag.FlagSet) {
	f.StringVar(&e.docker, "docker", "", "socket or address of the Docker Engine that knows the tasks of this machine; off: they are looked up by DNS "+
		"(default $DOCKER_SOCKET, else $DOCKER_HOST, else "+defaultSocket+" when it is there, else off)")
	f.StringVar(&e.node, "node", "", "name of this machine, for people (default its host name)")
	f.StringVar(&e.network, "network", "funker", "Docker network at which functions listen")
}

// host is the address of the engine, or "" when there is none.
func (e *engineFlags) host() string {
	host := cmp.Or(e.docker, os.Getenv("DOCKER_SOCKET"), os.Getenv("DOCKER_HOST"))
	if host == "" {
		if _, err := os.Stat(defaultSocket); err == nil {
			host = defaultSocket
		}
	}
	switch {
	case host == engineOff:
		return ""
	case strings.HasPrefix(host, "/"):
		return "unix://" + host
	}
	return host
}

// open returns the engine, which need not run yet, or nil when there shall be none. as is deploy.OpenEngine or
// deploy.OpenReader.
func (e *engineFlags) open(as func(host string) (*deploy.Engine, error)) (*deploy.Engine, error) {
	host := e.host()
	if host == "" {
		return nil, nil
	}
	engine, err := as(host)
	if err != nil {
		return nil, usagef("--docker %q: %w: write a socket such as %s, or an address such as tcp://127.0.0.1:2375", host, err, defaultSocket)
	}
	return engine, nil
}

// watchTasks tells a worker the tasks of an engine's node; nil without an engine.
func watchTasks(engine *deploy.Engine, network string) worker.Watch {
	if engine == nil {
		return nil
	}
	return func(ctx context.Context, update func([]deploy.Task, error)) { engine.WatchTasks(ctx, network, update) }
}

// closeEngine may be called without one.
func closeEngine(engine *deploy.Engine) error {
	if engine == nil {
		return nil
	}
	return engine.Close()
}
