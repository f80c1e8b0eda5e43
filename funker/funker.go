// Package funker speaks the funker protocol, in which one process calls a
// function in another one over TCP, on both sides: [Client] for callers,
// [Handle] and [Serve] for functions.
//
// # The protocol
//
// One connection carries one call.
//
//	caller                                            function
//	  |                                                  | listens on TCP port 9999
//	  |-- connect -------------------------------------->|
//	  |-- request: one JSON value ---------------------->|
//	  |-- FIN: closes its sending half ----------------->| reads up to here, then runs
//	  |<--------------------------- reply: one JSON value|
//	  |<--------------------------- FIN: closes its half |
//	  | reads up to here, then closes                    |
//
// The request and the reply are each exactly one JSON value (RFC 8259) in
// UTF-8: an object, an array, a string, a number, true, false or null, with
// white space around it at will. There are no lengths, headers or versions. The
// end of a value is the end of the stream, so neither side may guess it from
// what it has read so far, and a side that never closes its half is cut off when
// the time of the other one is up. A caller closes its sending half only
// after the whole request: a function that does not see the FIN has not been
// called. A function without a result replies null.
//
// A one-shot function takes one connection, replies and exits; whatever
// supervises it starts the next one. Until then its port refuses connections, or
// takes them and resets them: that is normal and says that another address is
// to be tried, or the same one a little later. A server function takes many
// connections, also at the same time. The caller need not know which it is.
//
// A connection opened to see whether somebody listens is a call with an
// empty request. A one-shot function spends its one call on it. Do not probe.
//
// # Failures
//
// A function that fails says so with an object which has this one member:
//
//	{"funkerError": {"message": "no such city", "retry": false, "retryAfter": 2.5}}
//
// Its members are all optional; one of another type makes the reply a bad one:
//   - message says what went wrong, to the operator.
//   - retry says whether the same request may succeed later. Absent means true.
//   - retryAfter is the number of seconds until a retry makes sense. Absent
//     means that the caller decides.
//
// An object with funkerError among other members is an ordinary reply. Other
// members inside funkerError are ignored. The name funkerError is written
// without JSON escapes.
//
// # What an error proves
//
// A caller which may run a request again, somewhere else or later, has to know
// whether the function has started. [Error] says what the phase and the kind of
// the error prove:
//
//	phase   error                                       did it start?
//	dial    any                                         no
//	write   any, if the function has sent nothing       no: the FIN did not go out
//	read    end of stream without a byte (ErrNoReply)   yes, and it died
//	read    deadline or reset, without a byte           perhaps
//	read    any, after the first byte                   yes
//	decode  not one JSON value (ErrBadReply)            yes
//
// A reset before the first byte mostly means that a one-shot function has exited
// with this connection in its backlog, but it is no proof.
package funker

import "time"

// Port is the TCP port that a function listens on.
const Port = 9999

// Limits that hold where nothing else is set.
const (
	DefaultMaxReply    = 8 << 20  // bytes of a reply that a Client takes
	DefaultMaxRequest  = 64 << 20 // bytes of a request that a function takes: the most that funker-dispatch sends
	DefaultConcurrency = 64       // calls that Serve runs at the same time

	defaultDialTimeout     = 250 * time.Millisecond
	defaultKeepAlive       = 30 * time.Second
	defaultTransferTimeout = 10 * time.Second
)
