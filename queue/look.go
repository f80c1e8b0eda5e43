package queue

import "time"

// looks are the pulls of a slot for events that have no answer yet. An event may be long under way, on a connection
// that is slow or in a process that was stopped. By then the server may have given it to another worker. It says
// nowhere when it sent a message; but that was not before the look which the message answers.
type looks struct {
	sent []time.Time // the oldest first
	link uint64      // the connection on which they were sent
	last time.Time   // when the look was sent that the last answer belongs to, or an older one
}

// lookLife is when a look is forgotten: a connection that is silent for so long is given up, see connect.
const lookLife = 10 * time.Second

// add notes a look. Those that were sent on another connection get no answer any more.
func (l *looks) add(link uint64) {
	for len(l.sent) > 0 && (link != l.link || time.Since(l.sent[0]) > lookLife) {
		l.sent = l.sent[1:]
	}
	l.sent, l.link = append(l.sent, time.Now()), link
}

// overdue reports whether a look got no answer in a time. Answers may be lost with a server; then all that come later would
// be taken for those to older looks.
func (l *looks) overdue(limit time.Duration) bool {
	return len(l.sent) > 0 && time.Since(l.sent[0]) > limit
}

// answered notes an answer. It belongs to the oldest look, or to a later one when it has overtaken others.
func (l *looks) answered() {
	l.last = time.Unix(0, 0) // when its look is forgotten, it is too old
	if len(l.sent) > 0 {
		l.last, l.sent = l.sent[0], l.sent[1:]
	}
}

// brought is the earliest time at which the server may have sent the last answer.
func (l *looks) brought() time.Time {
	if l.last.IsZero() {
		return time.Now()
	}
	return l.last
}
