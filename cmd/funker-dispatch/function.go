package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

type function = func(context.Context, json.RawMessage) (any, error)

// samples are the functions that the binary can be.
var samples = map[string]function{"hello": hello, "hostname": hostname, "echo": echo, "commits": commits}

func functionCommand() *cobra.Command {
	var address string
	var once bool
	names := sampleNames()
	cmd := &cobra.Command{
		Use:   "function {" + strings.Join(names, "|") + "}",
		Short: "Be a sample function on TCP port 9999",
		Long: `function answers as a funker function, so that the same image serves as a first one.

  hello     answers an Alexa request with a sentence
  hostname  answers an Alexa request with the name of its host
  echo      answers what it gets
  commits   lists the commits of a GitHub push`,
		ValidArgs: names, Args: cobra.MatchAll(takes("the name of a sample"), oneOf(names)),
	}
	cmd.Flags().StringVar(&address, "listen", fmt.Sprintf(":%d", funker.Port), "address to listen on")
	cmd.Flags().BoolVar(&once, "once", false, "answer one call and exit, as the classic funker library does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		log.Info("function ready", "function", args[0], "address", l.Addr().String())
		if once {
			return funker.Handle(cmd.Context(), l, samples[args[0]])
		}
		return funker.Serve(cmd.Context(), l, samples[args[0]], funker.Options{Log: log})
	}
	return cmd
}

func sampleNames() []string {
	names := make([]string, 0, len(samples))
	for n := range samples {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// alexaReply is the part of Alexa's response format that speaks. Source: Alexa Skills Kit, "Request and Response JSON
// Reference".
type alexaReply struct {
	Version  string `json:"version"`
	Response struct {
		OutputSpeech struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"outputSpeech"`
		ShouldEndSession bool `json:"shouldEndSession"`
	} `json:"response"`
}

func say(text string) alexaReply {
	r := alexaReply{Version: "1.0"}
	r.Response.OutputSpeech.Type, r.Response.OutputSpeech.Text = "PlainText", text
	r.Response.ShouldEndSession = true
	return r
}

func hello(context.Context, json.RawMessage) (any, error) {
	return say("Hello from your own swarm."), nil
}

func hostname(context.Context, json.RawMessage) (any, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	return say("My host is called " + name + "."), nil
}

func echo(_ context.Context, in json.RawMessage) (any, error) { return in, nil }

// commits reads a push event. Source: GitHub, "Webhook events and payloads", push.
func commits(_ context.Context, in json.RawMessage) (any, error) {
	var push struct {
		Ref        string `json:"ref"`
		Repository struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
		Commits []struct {
			ID      string `json:"id"`
			Message string `json:"message"`
		} `json:"commits"`
	}
	if err := json.Unmarshal(in, &push); err != nil {
		return nil, &funker.Failure{Message: "this is no push event: " + err.Error()}
	}
	type line struct {
		ID      string `json:"id"`
		Message string `json:"message"`
	}
	lines := make([]line, 0, len(push.Commits))
	for _, c := range push.Commits {
		subject, _, _ := strings.Cut(c.Message, "\n")
		lines = append(lines, line{c.ID[:min(len(c.ID), 7)], subject})
	}
	return map[string]any{"repository": push.Repository.FullName, "ref": push.Ref, "commits": lines}, nil
}
