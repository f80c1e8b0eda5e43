package main

import (
	"github.com/spf13/cobra"
)

func deadCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look at dead letters, the events that were given up; run them again, or drop them",
		Args:  takesCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.addRemote(cmd)
	cmd.AddCommand(deadListCommand(&admin), deadShowCommand(&admin), deadReplayCommand(&admin), deadDropCommand(&admin))
	return cmd
}
