package console

import "github.com/funker-dispatch/funker-dispatch/queue"

// reasonHelp says in plain words why an event was given up, and what helps.
var reasonHelp = map[queue.Reason]string{
	queue.ReasonExhausted:  "Given up: all attempts failed. Mend the function, then replay.",
	queue.ReasonRefused:    "Given up: the function said that no retry can help. Mend the function, or what was sent, then replay; or drop it.",
	queue.ReasonExpired:    "Given up: it became too old before it could run. See that the function has tasks, then replay.",
	queue.ReasonCrashed:    "Given up: workers died with it again and again. See their logs before a replay.",
	queue.ReasonCorrupt:    "Given up: the stored body is damaged. Let the sender send it again, or edit and replay.",
	queue.ReasonBadPayload: "Given up: the body is nothing that a function could be given. Edit and replay, or drop it.",
}

// stateHelp says what a state means for whoever wonders what to do.
var stateHelp = map[queue.State]string{
	queue.StateWaiting:     "It waits for a free task of its function.",
	queue.StateRunning:     "A task has it now.",
	queue.StateRetry:       "It failed, and will be tried again by itself.",
	queue.StateDropped:     "A person dropped its dead letter. It can still be replayed.",
	queue.StateFailed:      "The sender heard that it failed. Calls are not tried again by themselves.",
	queue.StateExpired:     "Its sender's time was over before it could start.",
	queue.StateNoWorker:    "No worker had the function, and its sender heard so.",
	queue.StateInterrupted: "The worker stopped before the function answered.",
	queue.StateNotStarted:  "No task took it.",
}

// Meaning is what the state and the reason of an event mean; "" for one that succeeded.
func (p eventPage) Meaning() string {
	if p.State == queue.StateDead {
		return reasonHelp[p.Reason]
	}
	return stateHelp[p.State]
}

// Cause is what the newest attempt says that failed; "" when the newest one did not.
func (p eventPage) Cause() string { return lastError(p.Record) }

// Weight is how grave the state is, as a class.
func (p eventPage) Weight() string {
	switch p.State {
	case queue.StateDead, queue.StateFailed:
		return "bad"
	case queue.StateRetry, queue.StateExpired, queue.StateNoWorker, queue.StateInterrupted, queue.StateNotStarted:
		return "warn"
	case queue.StateOK:
		return "good"
	}
	return ""
}

// Help says what the reason of the dead letters means that a page shows, when they have one.
func (p deadPage) Help() string {
	for _, d := range p.Rows {
		if d.Reason != p.Rows[0].Reason {
			return ""
		}
	}
	if len(p.Rows) == 0 {
		return ""
	}
	return reasonHelp[p.Rows[0].Reason]
}
