package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// takes wants the arguments of a command by their names, [NAME] if it can do without.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return usagef("there is an argument too much, %q: %s", args[len(names)], cmd.UseLine())
		case len(args) < len(names) && !strings.HasPrefix(names[len(args)], "["):
			return usagef("%s is missing: %s", names[len(args)], cmd.UseLine())
		}
		return nil
	}
}

// takesCommand refuses the arguments of a command that has only subcommands, with those that may have been meant.
func takesCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	meant := ""
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		meant = "; did you mean " + strings.Join(similar, " or ") + "?"
	}
	return usagef("unknown command %q of %s%s", args[0], cmd.CommandPath(), meant)
}

// oneOf wants the first argument to be one of some words.
func oneOf(words []string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if !slices.Contains(words, args[0]) {
			return usagef("there is no %q: take %s", args[0], choice(words))
		}
		return nil
	}
}

// choice is "group, always or none".
func choice(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
