package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// verify is Verify of a queue: the gateway reads, and says how far it is. It stops when ctx ends.
func (r *remote) verify(ctx context.Context, progress queue.Progress) (report queue.VerifyReport, err error) {
	resp, err := r.open(ctx, http.MethodPost, "/api/v1/verify", nil, "")
	if err != nil {
		return report, err
	}
	defer resp.Body.Close()
	complete := false
	err = sentEvents(resp.Body, func(e sentEvent) error {
		switch e.name {
		case "progress":
			var p console.VerifyProgress
			if err := json.Unmarshal(e.data, &p); err != nil {
				return err
			}
			progress(p.Stream, p.Done, p.Of)
		case "report":
			complete = true
			return json.Unmarshal(e.data, &report)
		case "error":
			p := &console.Problem{}
			if err := json.Unmarshal(e.data, p); err != nil {
				return err
			}
			return p
		}
		return nil
	})
	switch {
	case err != nil:
		return report, fmt.Errorf("verify at the gateway: %w", err)
	case !complete:
		return report, errors.New("verify at the gateway: the connection was lost before there was a report: try again")
	}
	return report, nil
}
