package funker

import (
	"errors"
	"io"
	"slices"
	"sync"
)

var errTooLarge = errors.New("too large")

// firstRead holds nearly every request and reply. Longer ones get memory of their
// own, so the pool never keeps a large one alive.
const firstRead = 16 << 10

var buffers = sync.Pool{New: func() any { return new([firstRead]byte) }}

// readToEnd reads up to the end of the stream, at most limit bytes, into memory
// that belongs to the caller. Along with an error, such as errTooLarge, it returns
// what came before it.
func readToEnd(r io.Reader, limit int64) ([]byte, error) {
	pooled := buffers.Get().(*[firstRead]byte)
	defer buffers.Put(pooled)
	data, err := fill(r, pooled[:0], limit)
	if cap(data) == firstRead {
		data = slices.Clone(data)
	}
	return data, err
}

// fill appends to data up to the end of the stream, in place as long as there is room.
func fill(r io.Reader, data []byte, limit int64) ([]byte, error) {
	for {
		if len(data) == cap(data) {
			data = append(make([]byte, 0, grown(cap(data), limit)), data...)
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return data[:limit], errTooLarge
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return data, err
		}
	}
}

// grown is twice size, but no more than it takes to see that limit is passed.
func grown(size int, limit int64) int {
	if limit < 2*int64(size) {
		return int(limit) + 1
	}
	return 2 * size
}
