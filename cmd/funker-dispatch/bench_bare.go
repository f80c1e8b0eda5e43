package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/ingress"
)

// bareHandler is what a gateway without a queue would do: read the body, check that it is JSON, call the function.
func bareHandler(address string) http.Handler {
	var c funker.Client
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ingress.DefaultMaxBody))
		if err != nil || !json.Valid(body) {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		reply, err := c.Call(r.Context(), address, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// A client that is gone needs no answer.
		_, _ = w.Write(reply)
	})
}

// bareStore is what a gateway would do that keeps bodies in a file and knows nothing else of them: read the body, append
// it, wait for a sync, which all share who wait.
func bareStore(file *os.File) http.Handler {
	s := sharedFile{file: file, turn: make(chan struct{}, 1), next: newSharedSync()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ingress.DefaultMaxBody))
		if err != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		if err := s.append(body); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

type sharedFile struct {
	file *os.File
	turn chan struct{} // held while syncing

	mu   sync.Mutex  // guards next, and the order of writes
	next *sharedSync // of those who write now
}

type sharedSync struct {
	done chan struct{}
	err  error // once done is closed
}

func newSharedSync() *sharedSync { return &sharedSync{done: make(chan struct{})} }

// append returns when the body is on disk.
func (s *sharedFile) append(body []byte) error {
	s.mu.Lock()
	_, err := s.file.Write(body)
	mine := s.next
	s.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-mine.done:
	case s.turn <- struct{}{}:
		s.sync(mine)
		<-s.turn
	}
	return mine.err
}

// sync syncs for all who wait, unless that has been done.
func (s *sharedFile) sync(all *sharedSync) {
	s.mu.Lock()
	begins := s.next == all
	if begins {
		s.next = newSharedSync()
	}
	s.mu.Unlock()
	if begins {
		all.err = s.file.Sync()
		close(all.done)
	}
}

// appendFile makes an empty file in the folder of the bench, for appending.
func (b *bench) appendFile(name string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(b.dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make file: %w", err)
	}
	return file, nil
}

// emptied returns what empties a file between two figures, so that it never holds more than one of them wrote.
func emptied(file *os.File) func(context.Context) error {
	return func(context.Context) error {
		if err := errors.Join(file.Truncate(0), file.Sync()); err != nil {
			return fmt.Errorf("empty file: %w", err)
		}
		return nil
	}
}
