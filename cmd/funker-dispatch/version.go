package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker for images, where there is no repository.
var (
	version = "dev"
	commit  = ""
)

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print version, commit, Go and embedded NATS version", Args: takes()}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := buildInfo()
		if *out == "json" {
			return printJSON(cmd.OutOrStdout(), v)
		}
		_, err := fmt.Fprint(cmd.OutOrStdout(), v)
		return err
	}
	return cmd
}

type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	NATS    string `json:"nats_server"`
}

func (b build) String() string {
	return fmt.Sprintf("funker-dispatch %s\ncommit %s\n%s %s/%s\nnats-server %s\n", b.Version, b.Commit, b.Go, runtime.GOOS, runtime.GOARCH, b.NATS)
}

func buildInfo() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), NATS: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/nats-io/nats-server/v2" {
			b.NATS = dep.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && b.Commit == "" {
			b.Commit = s.Value
		}
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}
