package queue

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// Arrivals calls arrived with the function of every event, replay and due retry when it is stored, and of every Patient
// call of this process. arrived must not block. It may be called once, before the first call.
func (q *Queue) Arrivals(arrived func(function string)) error {
	q.arrived = arrived
	_, err := q.nc.Subscribe(wakeSubject("*", "*"), func(m *nats.Msg) {
		arrived(untoken(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]))
	})
	if err != nil {
		return fmt.Errorf("subscribe to arrivals: %w", err)
	}
	return nil
}
