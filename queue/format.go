package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// While gateways and workers are updated one after the other, two versions work side by side. What an older one would
// misread has a higher format than it knows: it leaves such a message to others, and such a stream as it is. A new format is
// written by the release after the one that can read it, so that versions one release apart read all that there is.

// format is that of the messages, streams and consumers which this program makes. Where nothing is said it is 1.
const format = 1

// errNewer means that a newer version has written a message.
var errNewer = errors.New("a newer version of funker-dispatch has written this")

// headerFormat says the format of a message, formatKey, in the metadata, that of a stream or consumer.
const (
	headerFormat = "Funker-Format"
	formatKey    = "funker-format"
)

func formatIn(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil { // nothing, or written by hand
		return 1
	}
	return n
}

// readable returns errNewer for headers of a newer version.
func readable(h nats.Header) error {
	if n := formatIn(h.Get(headerFormat)); n > format {
		return fmt.Errorf("%w: it has format %d, and this one reads formats up to %d: update it", errNewer, n, format)
	}
	return nil
}

// copyOf is a message as it is, without what the server has added.
func copyOf(m *nats.Msg, subject string) *nats.Msg {
	h := nats.Header{}
	for name, values := range m.Header {
		if !strings.HasPrefix(name, "Nats-") {
			h[name] = values
		}
	}
	return &nats.Msg{Subject: subject, Header: h, Data: m.Data}
}
