package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// command returns the subcommand table. started is set once a command line has been understood.
func command(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "funker-dispatch",
		Short: "A serverless gateway for Docker Swarm",
		Long: `funker-dispatch takes events over HTTP (Alexa, GitHub, any caller), stores them in an embedded
NATS JetStream, and calls your functions: containers that take JSON on TCP port 9999 and answer JSON.

Start with:  funker-dispatch demo

Every flag can also be set by an environment variable: --nats-listen is FUNKER_NATS_LISTEN.`,
		Version:      version,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags()); err != nil {
				return err
			}
			*started = true
			return nil
		},
		Args: takesCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(buildInfo().String())
	root.PersistentFlags().String("log-level", "info", "what to log: debug, info, warn, error")
	root.PersistentFlags().String("log-format", "text", "how to log: text, json")
	root.AddCommand(serveCommand(), workerCommand(), clusterCommand(), applyCommand(), functionsCommand(), triggersCommand(), demoCommand(), invokeCommand(), eventsCommand(), deadCommand(), statsCommand(), functionCommand(),
		verifyCommand(), backupCommand(), restoreCommand(), signCommand(), tokenCommand(), benchCommand(), planCommand(), healthcheckCommand(), versionCommand(), pipeCommand())
	return root
}

// fromEnv gives the flags that are not on the command line the value of their environment variable.
func fromEnv(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "FUNKER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || f.Name == "help" || f.Name == "version" || err != nil {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = usagef("environment variable %s: %w", name, e)
		}
	})
	return err
}

// logger makes the log of a command from its flags. It writes to standard error.
func logger(cmd *cobra.Command) (*slog.Logger, error) {
	name, err := cmd.Flags().GetString("log-level")
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return nil, usagef("--log-level %q: take debug, info, warn or error", name)
	}
	format, err := cmd.Flags().GetString("log-format")
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options)), nil
	}
	return nil, usagef("--log-format %q: take text or json", format)
}

// format is the value of -o.
type format string

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "text|json" }
func (f *format) Set(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("take text or json")
	}
	*f = format(s)
	return nil
}

func outputFlag(cmd *cobra.Command) *format {
	f := format("text")
	cmd.Flags().VarP(&f, "output", "o", "how to print")
	return &f
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printList prints an empty list as [], not as null.
func printList[T any](w io.Writer, list []T) error { return printJSON(w, append([]T{}, list...)) }

// readData reads the value of -d: JSON itself, @FILE, or @- for standard input. The name of a file without the @ is an
// error: nobody means it as a body.
func readData(cmd *cobra.Command, data string) ([]byte, error) {
	file, ok := strings.CutPrefix(data, "@")
	switch {
	case !ok && trigger.CheckJSON([]byte(data)) != nil && isFile(data):
		return nil, usagef("%s is a file: to read it write @%s", data, data)
	case !ok:
		return []byte(data), nil
	case file == "-":
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(file)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
