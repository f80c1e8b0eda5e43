package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// Codes of the answers that this package gives by itself.
const (
	codeNotFound        = "not_found"
	codeUnknownFunction = "unknown_function"
	codeUnknownShape    = "unknown_shape"
	codeNoTrigger       = "no_trigger"
	codeMethod          = "method_not_allowed"
	codeUnauthorized    = "unauthorized"
	codeOrigin          = "origin_refused"
	codeHTTPS           = "https_required"
	codeBodyTooLarge    = "body_too_large"
	codeBodyTimeout     = "body_timeout"
	codeBodyIncomplete  = "body_incomplete"
	codeClientGone      = "client_gone"
	codeBusy            = "busy"
	codeFull            = "store_full"
	codeUnavailable     = "unavailable"
	codeInternal        = "internal"
)

// statusClientGone is in the log only: nobody is left to read it.
const statusClientGone = 499

// meaning is what a code means to a client: a status, and in how many seconds it
// is worth trying again, "" where that is not known.
type meaning struct {
	status int
	retry  string
}

// meanings is the one table from errors to answers. The codes of the queue that
// are not in it are failures of a function: 502. The reasons of a trigger that
// are not in it are bad requests: 400.
var meanings = map[string]meaning{
	codeNotFound:        {http.StatusNotFound, ""},
	codeUnknownFunction: {http.StatusNotFound, ""},
	codeUnknownShape:    {http.StatusBadRequest, ""},
	codeNoTrigger:       {http.StatusNotFound, ""},
	codeMethod:          {http.StatusMethodNotAllowed, ""},
	codeUnauthorized:    {http.StatusUnauthorized, ""},
	codeOrigin:          {http.StatusMethodNotAllowed, ""},
	codeHTTPS:           {http.StatusMisdirectedRequest, ""},
	codeBodyTooLarge:    {http.StatusRequestEntityTooLarge, ""},
	codeBodyTimeout:     {http.StatusRequestTimeout, ""},
	codeBodyIncomplete:  {http.StatusBadRequest, ""},
	codeClientGone:      {statusClientGone, ""},
	codeBusy:            {http.StatusServiceUnavailable, "1"},
	codeFull:            {http.StatusServiceUnavailable, "30"},
	codeUnavailable:     {http.StatusServiceUnavailable, "5"},
	codeInternal:        {http.StatusInternalServerError, ""},

	queue.CodeNoWorker: {http.StatusServiceUnavailable, "1"},
	queue.CodeNoTask:   {http.StatusServiceUnavailable, "1"},
	queue.CodePaused:   {http.StatusServiceUnavailable, "60"},
	queue.CodeNoPorts:  {http.StatusServiceUnavailable, "5"},
	queue.CodeStopping: {http.StatusServiceUnavailable, "1"},
	queue.CodeTimeout:  {http.StatusGatewayTimeout, ""},
	queue.CodeExpired:  {http.StatusGatewayTimeout, ""}, // the queue's: over before it could start

	code(trigger.ReasonUnsigned):    {http.StatusUnauthorized, ""},
	code(trigger.ReasonForged):      {http.StatusUnauthorized, ""},
	code(trigger.ReasonStale):       {http.StatusUnauthorized, ""},
	code(trigger.ReasonWrongTopic):  {http.StatusForbidden, ""},
	code(trigger.ReasonUnfetched):   {http.StatusServiceUnavailable, "5"},
	code(trigger.ReasonInflated):    {http.StatusRequestEntityTooLarge, ""},
	code(trigger.ReasonContentType): {http.StatusUnsupportedMediaType, ""},
}

// refusal is an error of this package, for the client.
type refusal struct{ code, message string }

func (r *refusal) Error() string { return r.message }

func refuse(code, message string) error { return &refusal{code, message} }

// unfetched is the refusal of a request that a fetch which failed would have answered.
func unfetched(err error) error {
	return fmt.Errorf("%w: %w", refuse(codeUnavailable, "the sender's own server could not be reached: try again soon"), err)
}

// failure is an error as the client sees it.
type failure struct {
	meaning
	code, message string
	internal      bool // the message hides the error, which belongs into the log
}

// final says that the same body will be refused again, whatever is put right here:
// it is not about who sent it, nor about what the gateway can do now.
func (f failure) final() bool {
	switch f.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return f.code != codeBodyIncomplete
	default:
		return false
	}
}

// classify finds the answer to an error.
func classify(err error) failure {
	var (
		own    *refusal
		bad    *trigger.Error
		called *queue.CallError
	)
	switch {
	case errors.As(err, &own):
		return failureOf(own.code, own.message, http.StatusInternalServerError)
	case errors.As(err, &bad):
		f := failureOf(code(bad.Reason), bad.Detail, http.StatusBadRequest)
		f.internal = bad.Reason == trigger.ReasonUnfetched // why not is for the log
		return f
	case errors.As(err, &called):
		return failureOf(called.Code, called.Message, http.StatusBadGateway)
	case errors.Is(err, queue.ErrTooLarge):
		return failureOf(codeBodyTooLarge, err.Error(), 0)
	case errors.Is(err, queue.ErrFull):
		return hidden(codeFull, "the store is full, nothing was stored: try again later")
	case errors.Is(err, queue.ErrUnavailable):
		return hidden(codeUnavailable, "the queue is not available: try again soon")
	case errors.Is(err, context.Canceled):
		return failureOf(codeClientGone, "the client has gone", 0)
	default:
		return hidden(codeInternal, "something went wrong here: the log has it under this request id")
	}
}

func failureOf(code, message string, otherwise int) failure {
	m, ok := meanings[code]
	if !ok {
		m.status = otherwise
	}
	return failure{meaning: m, code: code, message: message}
}

func hidden(code, message string) failure {
	f := failureOf(code, message, http.StatusInternalServerError)
	f.internal = true
	return f
}

// code writes a reason as all other codes are written.
func code(r trigger.Reason) string { return strings.ReplaceAll(string(r), "-", "_") }

// errorBody is {"error":{"code","message"}}.
type errorBody struct {
	Error errorText `json:"error"`
}

type errorText struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}
