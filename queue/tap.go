package queue

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nkeys"
)

// tap is a connection to the embedded server that pulls messages and shows them as they come, without a copy. The index
// reads two messages for every call; the client library, which makes a map of every header, takes twice the time.
type tap struct {
	conn           net.Conn
	in             *bufio.Reader
	inbox          string
	pulls          uint64
	active         atomic.Pointer[pull]
	subject, block []byte        // of the message at hand
	ended          chan struct{} // closed when the connection is lost
	err            error         // why, once ended is closed
}

// pull is a request for messages that are there already. It is over when as many as asked for have come, or with a
// status that says that there are no more.
type pull struct {
	reply  string
	left   int
	got    int
	visit  func(m *tapMessage)
	status chan int
}

// tapMessage is a message of a stream. Its slices are only good until visit returns.
type tapMessage struct {
	subject []byte
	header  []byte
	seq     uint64
	order   uint64 // how many the consumer has given out, this one too
	stored  int64  // unix milliseconds
}

// The statuses that end a pull. Any other one means that the consumer cannot be used.
const (
	statusAll  = 0   // as many as asked for have come
	statusNone = 404 // there are no more messages
)

var errTap = errors.New("unexpected answer of the server")

// openTap connects with a key.
func openTap(conn net.Conn, key nkeys.KeyPair) (*tap, error) {
	t := &tap{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), inbox: dispatchInbox + "." + NewID() + ".", ended: make(chan struct{})}
	if err := t.greet(key); err != nil {
		return nil, errors.Join(fmt.Errorf("connect the index: %w", err), conn.Close())
	}
	return t, nil
}

func (t *tap) greet(key nkeys.KeyPair) error {
	info, err := t.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	var server struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal(bytes.TrimPrefix(info, []byte("INFO ")), &server); err != nil {
		return fmt.Errorf("greeting of the server: %w", err)
	}
	signature, err := key.Sign([]byte(server.Nonce))
	if err != nil {
		return err
	}
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	connect, err := json.Marshal(map[string]any{
		"verbose": false, "headers": true, "no_responders": true, "protocol": 1, "lang": "go", "name": "funker-dispatch index",
		"nkey": public, "sig": base64.RawURLEncoding.EncodeToString(signature),
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.conn, "CONNECT %s\r\nSUB %s* 1\r\n", connect, t.inbox)
	return err
}

// dialTap opens a tap that reads.
func dialTap(dial func() (net.Conn, error), key nkeys.KeyPair) (*tap, error) {
	conn, err := dial()
	if err != nil {
		return nil, fmt.Errorf("connect the index: %w", err)
	}
	t, err := openTap(conn, key)
	if err != nil {
		return nil, err
	}
	go t.run()
	return t, nil
}

// close ends the connection.
func (t *tap) close() {
	// A connection within the process has nothing to tell when it is closed.
	_ = t.conn.Close()
	<-t.ended
}

// run reads until the connection is lost.
func (t *tap) run() {
	var err error
	for err == nil {
		err = t.read()
	}
	t.err = errors.Join(err, t.conn.Close())
	close(t.ended)
}

// pull asks a consumer for up to batch messages that are there already and gives them to visit. It returns how many
// came, and false when the server does not know the consumer. After an error the connection is of no use.
func (t *tap) pull(ctx context.Context, stream, consumer string, batch int, visit func(*tapMessage)) (got int, known bool, err error) {
	t.pulls++
	p := &pull{reply: t.inbox + strconv.FormatUint(t.pulls, 10), left: batch, visit: visit, status: make(chan int, 1)}
	t.active.Store(p)
	request := fmt.Sprintf(`{"batch":%d,"no_wait":true}`, batch)
	if _, err := fmt.Fprintf(t.conn, "PUB %s %s %d\r\n%s\r\n", pullSubject(apiPrefix(""), stream, consumer), p.reply, len(request), request); err != nil {
		return 0, false, fmt.Errorf("read %s: %w", stream, err)
	}
	select {
	case status := <-p.status:
		return p.got, status == statusAll || status == statusNone, nil
	case <-t.ended:
		return 0, false, fmt.Errorf("read %s: %w", stream, t.err)
	case <-ctx.Done():
		err := errors.Join(fmt.Errorf("read %s: %w", stream, context.Cause(ctx)), t.conn.Close())
		<-t.ended
		return 0, false, err
	}
}

// read takes one line of the protocol, with what belongs to it.
func (t *tap) read() error {
	line, err := t.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(line, []byte("HMSG ")), bytes.HasPrefix(line, []byte("MSG ")):
		return t.message(line)
	case bytes.HasPrefix(line, []byte("PING")):
		_, err := io.WriteString(t.conn, "PONG\r\n")
		return err
	case bytes.HasPrefix(line, []byte("INFO ")), bytes.HasPrefix(line, []byte("PONG")):
		return nil
	}
	return fmt.Errorf("%w: %q", errTap, shorten(string(line), 80))
}

// message reads HMSG <subject> <sid> [<reply>] <bytes of the header> <bytes in all>, or MSG, which has no header, and
// what follows.
func (t *tap) message(line []byte) error {
	fields, n := fieldsOf(line)
	if n < 4 {
		return fmt.Errorf("%w: %q", errTap, shorten(string(line), 80))
	}
	total, header := atoi(fields[n-1]), 0
	if line[0] == 'H' {
		header = atoi(fields[n-2])
	}
	if total < header || total > 2*maxPayload {
		return fmt.Errorf("%w: %q", errTap, shorten(string(line), 80))
	}
	t.subject = append(t.subject[:0], fields[1]...)
	m := tapMessage{subject: t.subject}
	m.seq, m.order, m.stored = metadata(fields[3])
	t.block = slices.Grow(t.block[:0], total+2)[:total+2]
	if _, err := io.ReadFull(t.in, t.block); err != nil {
		return err
	}
	m.header = t.block[:header]
	t.deliver(&m)
	return nil
}

// fieldsOf returns the fields of a line, six at most.
func fieldsOf(line []byte) (fields [6][]byte, n int) {
	for n < len(fields) {
		line = bytes.TrimLeft(line, " \r\n")
		end := bytes.IndexAny(line, " \r\n")
		if end < 0 {
			return fields, n
		}
		fields[n], line = line[:end], line[end:]
		n++
	}
	return fields, n
}

// deliver gives a message, or the status that ends a pull, to the pull that waits for it.
func (t *tap) deliver(m *tapMessage) {
	p := t.active.Load()
	switch {
	case p == nil:
	case m.seq > 0:
		p.visit(m)
		p.got++
		if p.left--; p.left == 0 {
			t.active.Store(nil)
			p.status <- statusAll
		}
	case string(m.subject) == p.reply:
		t.active.Store(nil)
		p.status <- statusCode(m.header)
	}
}

// statusCode reads "NATS/1.0 404 No Messages".
func statusCode(header []byte) int {
	_, rest, _ := bytes.Cut(header, []byte{' '})
	return atoi(rest[:min(3, len(rest))])
}

// metadata reads the sequence, how many messages the consumer has given out, and the time, in unix milliseconds, from the
// reply subject of a message,
// $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<of the consumer>.<nanoseconds>.<pending>. They
// are 0 for any other subject.
func metadata(reply []byte) (seq, order uint64, stored int64) {
	if !bytes.HasPrefix(reply, []byte("$JS.ACK.")) {
		return 0, 0, 0
	}
	skip := 5
	if bytes.Count(reply, []byte{'.'}) > 8 {
		skip = 7
	}
	var token []byte
	for i := 0; i < skip+3; i++ {
		token, reply, _ = bytes.Cut(reply, []byte{'.'})
		switch i {
		case skip:
			seq = number(token)
		case skip + 1:
			order = number(token)
		}
	}
	return seq, order, int64(number(token) / 1e6) //nolint:gosec // a time in milliseconds
}

// number reads decimal digits.
func number(digits []byte) (n uint64) {
	for _, d := range digits {
		n = n*10 + uint64(d-'0')
	}
	return n
}
