package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// limit is the value of --limit: how many rows a list has at most.
type limit int

func limitFlag(cmd *cobra.Command) *limit {
	l := limit(queue.DefaultLimit)
	cmd.Flags().Var(&l, "limit", fmt.Sprintf("how many, at most %d", queue.MaxLimit))
	return &l
}

func (l *limit) String() string { return strconv.Itoa(int(*l)) }
func (l *limit) Type() string   { return "int" }

// Set implements pflag.Value.
func (l *limit) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > queue.MaxLimit {
		return fmt.Errorf("take 1 to %d", queue.MaxLimit)
	}
	*l = limit(n)
	return nil
}

// tell says that a list may not be all.
func (l *limit) tell(cmd *cobra.Command, listed int) {
	if listed == int(*l) {
		fmt.Fprintf(cmd.ErrOrStderr(), "these are the newest %d, older ones are left out: --limit\n", listed)
	}
}
