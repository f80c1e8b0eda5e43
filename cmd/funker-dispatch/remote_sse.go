package main

import (
	"bufio"
	"bytes"
	"io"
)

// maxSentEvent bounds a line of a stream of server-sent events.
const maxSentEvent = 8 << 20

// sentEvent is a server-sent event as the gateway writes it: of one line of data. A comment has no name.
type sentEvent struct {
	id, name string
	data     []byte // until the next one
}

// sentEvents gives each event to f, once it is whole, until the stream ends or f returns an error. It returns nil at the
// end of the stream.
func sentEvents(stream io.Reader, f func(sentEvent) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxSentEvent)
	var e sentEvent
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
		switch string(name) {
		case "id":
			e.id = string(value)
		case "event":
			e.name = string(value)
		case "data":
			e.data = bytes.Clone(value)
		case "": // and of a comment, which goes on
			if len(lines.Bytes()) > 0 {
				continue
			}
			if err := f(e); err != nil {
				return err
			}
			e = sentEvent{}
		}
	}
	return lines.Err()
}
