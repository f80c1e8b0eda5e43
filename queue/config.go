package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The configuration of the gateway is one text, the manifest, in a bucket of JetStream's key-value store. The stock CLI
// reads it and its last versions: `nats kv get funker-config manifest --raw`, `nats kv history funker-config manifest`.
const (
	configBucket   = "funker-config"
	configKey      = "manifest"
	idKey          = "id"
	configHistory  = 16
	configMaxBytes = 64 << 20
	streamConfig   = "KV_" + configBucket
)

const (
	headerOperation = "KV-Operation" // of a deletion
	headerExpected  = "Nats-Expected-Last-Subject-Sequence"

	codeWrongSequence = 10071
)

func configSubject(key string) string { return "$KV." + configBucket + "." + key }

// configStream is the stream that the key-value store would make for the bucket itself.
func configStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamConfig, Description: "the manifest that was applied",
		Subjects: []string{configSubject(">")}, MaxMsgsPerSubject: configHistory, MaxBytes: configMaxBytes,
		Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute, AllowDirect: true, AllowRollup: true, DenyDelete: true,
	}
}

// ID names the store of a gateway. It is made at the first start, and is in its backups too: whatever a gateway has made
// elsewhere and marked with it stays its own.
func (q *Queue) ID(ctx context.Context) (string, error) {
	var kv jetstream.KeyValue
	err := q.persist(ctx, func(ctx context.Context) (err error) { kv, err = q.js.KeyValue(ctx, configBucket); return err })
	if err != nil {
		return "", fmt.Errorf("open configuration: %w", err)
	}
	for {
		entry, err := kv.Get(ctx, idKey)
		if err == nil {
			return string(entry.Value()), nil
		}
		if !errors.Is(err, jetstream.ErrKeyNotFound) {
			return "", fmt.Errorf("read the id of the store: %w", err)
		}
		id := NewID()
		_, err = kv.Create(ctx, idKey, []byte(id))
		switch {
		case errors.Is(err, jetstream.ErrKeyExists): // another gateway of the cluster was faster
		case err != nil:
			return "", fmt.Errorf("store the id of the store: %w", err)
		default:
			return id, q.flush(ctx, "")
		}
	}
}

// ErrConflict means that somebody else has stored another configuration meanwhile.
var ErrConflict = errors.New("the configuration was changed meanwhile")

// Config is the configuration that was stored last.
type Config struct {
	Text     []byte // nil when there is none
	Revision uint64 // grows with every change; 0 when there has never been one
	Time     time.Time
}

// Config returns the stored configuration. It returns ErrCorrupt, with the revision, when the text is not the one that was
// stored.
func (q *Queue) Config(ctx context.Context) (Config, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	var m *nats.Msg
	err := q.persist(ctx, func(ctx context.Context) (err error) {
		m, err = q.getNewest(ctx, streamConfig, []byte(`{"last_by_subj":"`+configSubject(configKey)+`"}`))
		return err
	})
	if err != nil {
		return Config{}, failed(err, "read configuration")
	}
	if m.Header.Get("Status") == "404" {
		return Config{}, nil
	}
	revision, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
	}
	raw, err := rawMessage(m, revision)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c := Config{Revision: revision, Time: raw.Time}
	if raw.Header.Get(headerOperation) != "" {
		return c, nil
	}
	if err := checkSum(raw.Header.Get(headerSum), raw.Data); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	c.Text = raw.Data
	return c, nil
}

// PutConfig stores a configuration in place of the one with the revision after, and returns its own revision when it is
// on disk. Errors: ErrConflict when that is not the last one any more, ErrFull, ErrUnavailable.
func (q *Queue) PutConfig(ctx context.Context, text []byte, after uint64) (revision uint64, err error) {
	sum := sha256.Sum256(text)
	ack, err := q.store(ctx, &nats.Msg{Subject: configSubject(configKey), Data: text, Header: nats.Header{
		headerSum: {hex.EncodeToString(sum[:])}, headerExpected: {strconv.FormatUint(after, 10)},
	}})
	if wrongSequence(err) {
		return q.conflict(ctx, text)
	}
	if err != nil {
		return 0, fmt.Errorf("store configuration: %w", err)
	}
	return ack.Sequence, nil
}

// conflict tells whether a configuration that could not be stored is stored already: in a cluster the confirmation may have
// been lost, and the second try refused.
func (q *Queue) conflict(ctx context.Context, text []byte) (revision uint64, err error) {
	if c, err := q.Config(ctx); q.clustered() && err == nil && bytes.Equal(c.Text, text) {
		return c.Revision, nil
	}
	return 0, ErrConflict
}

// WatchConfig calls changed at once and after every change of the configuration, until ctx is cancelled.
func (q *Queue) WatchConfig(ctx context.Context, changed func()) error {
	kv, err := q.js.KeyValue(ctx, configBucket)
	if err != nil {
		return unlessOver(ctx, fmt.Errorf("open configuration: %w", err))
	}
	w, err := kv.Watch(ctx, configKey, jetstream.MetaOnly())
	if err != nil {
		return unlessOver(ctx, fmt.Errorf("watch configuration: %w", err))
	}
	defer func() { _ = w.Stop() }() // fails only when the connection is closed
	for {
		select {
		case _, open := <-w.Updates():
			if !open {
				return nil
			}
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}
