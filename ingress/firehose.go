package ingress

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// firehose is how Firehose has to be answered: 200 and nothing else is success, and
// every answer is of its own form. It never gets 413: after that it drops the batch
// at once, and does not put it into the bucket for errors either. After 400 it tries
// again, and then the batch goes there.
var firehose = manner{
	success: http.StatusOK,
	refuse: func(f failure) failure {
		if f.status == http.StatusRequestEntityTooLarge {
			f.status = http.StatusBadRequest
		}
		return f
	},
	body: func(x *exchange, f failure) any {
		return firehoseRefusal{x.r.Header.Get("X-Amz-Firehose-Request-Id"), x.start.UnixMilli(), f.message}
	},
}

type firehoseRefusal struct {
	RequestID string `json:"requestId"`
	Timestamp int64  `json:"timestamp"` // milliseconds
	Message   string `json:"errorMessage"`
}

// inflate undoes the compression of a body while it is read, of a sender that may
// compress: what is stored and verified is what was compressed. Compressed and not,
// it has at most limit bytes. Who is not the sender learns so before anything is
// decompressed.
func (h *hook) inflate(x *exchange, limit bound) error {
	encoding := x.r.Header.Get("Content-Encoding")
	if h.Kind != trigger.Firehose || encoding == "" {
		return nil
	}
	if err := h.greet(x); err != nil {
		return unread(x, err)
	}
	if !strings.EqualFold(encoding, "gzip") {
		return unread(x, refuse(code(trigger.ReasonContentType), "the body is compressed in a way that this gateway does not know: use gzip, or none"))
	}
	r := *x.r
	r.Body = &gzipBody{from: http.MaxBytesReader(x.w, x.r.Body, limit.bytes)}
	r.ContentLength = -1
	x.r = &r
	return nil
}

// greet returns what a verifier has against the request before it has a body.
func (h *hook) greet(x *exchange) error {
	_, err := h.verify(x.r.Context(), trigger.Request{Header: x.r.Header, Query: x.r.URL.Query(), Time: x.start})
	var bad *trigger.Error
	if errors.As(err, &bad) && bad.Reason == trigger.ReasonEmpty {
		return nil
	}
	return err
}

// gzipBody reads from a compressed body.
type gzipBody struct {
	from io.ReadCloser
	zip  *gzip.Reader // nil before the first byte is read
}

func (b *gzipBody) Read(p []byte) (int, error) {
	if b.zip == nil {
		zip, err := gzip.NewReader(b.from)
		if err != nil {
			return 0, err
		}
		b.zip = zip
	}
	return b.zip.Read(p)
}

func (b *gzipBody) Close() error { return b.from.Close() }
