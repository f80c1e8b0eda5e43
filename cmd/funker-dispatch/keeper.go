package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	storedName  = "manifest" // of the stored manifest, in faults
	mendEvery   = 10 * time.Second
	applyLimit  = 2 * time.Minute // making the consumers of a thousand new functions takes a while
	consumersAt = 16              // functions whose consumers are made at a time
)

// keeper puts manifests in force: that of a file once and for all, or the stored one and each that is applied.
type keeper struct {
	queue    *queue.Queue
	catalog  *deploy.Catalog
	options  deploy.ServicesOptions // for a services.json
	services *services              // that follow the manifest; nil where nobody looks after them
	log      *slog.Logger
	fixed    bool   // by a manifest file, or by whoever made this gateway
	file     string // name of the file, for people

	turn     chan struct{} // held while a manifest is put in force; guards what follows
	revision uint64        // of the text
	text     string        // stored last
	faults   int           // in it
}

func newKeeper(o gatewayOptions, q *queue.Queue) *keeper {
	return &keeper{
		queue: q, catalog: deploy.NewCatalog(nil), options: o.services, log: o.log,
		fixed: o.manifest != nil, file: o.manifestFile, turn: make(chan struct{}, 1),
	}
}

// start puts the first manifest in force, the given or the stored one, and serves those who ask for it.
func (k *keeper) start(ctx context.Context, m *deploy.Manifest) (err error) {
	if !k.fixed {
		if m, err = k.stored(ctx); err != nil {
			return err
		}
	}
	if err := k.prepare(ctx, m); err != nil {
		return err
	}
	k.catalog.Set(m)
	k.queue.PausedBy(k.catalog.Paused)
	return errors.Join(
		k.queue.ServeFunctions(func() ([]byte, error) { return k.catalog.Manifest().ForWorkers() }),
		k.queue.Serve("apply", applyLimit, k.apply),
		k.queue.Serve("function", applyLimit, k.change),
	)
}

// stored returns the stored manifest. One with faults does not keep the gateway from its work: what can be used of it is
// used, for whoever starts a gateway again at night wants the events of all other senders.
func (k *keeper) stored(ctx context.Context) (*deploy.Manifest, error) {
	c, err := k.queue.Config(ctx)
	k.revision, k.text = c.Revision, string(c.Text)
	switch {
	case errors.Is(err, queue.ErrCorrupt):
		k.log.Error("the stored manifest is damaged: no function is called until one is applied", "error", err)
		return &deploy.Manifest{Partial: true}, nil
	case err != nil:
		return nil, err
	case c.Text == nil:
		k.log.Info("no functions yet: funker-dispatch apply FILE")
		return &deploy.Manifest{}, nil
	}
	m, faults := deploy.Salvage(storedName, c.Text, k.options)
	for _, f := range faults {
		k.log.Error("the stored manifest has a fault: what it is about is left out", "fault", f.String())
	}
	k.faults = len(faults)
	remark(k.log, storedName, m)
	return m, nil
}

// force puts a manifest in force that is prepared.
func (k *keeper) force(m *deploy.Manifest) {
	k.catalog.Set(m)
	remark(k.log, storedName, m)
	if err := k.queue.AnnounceFunctions(); err != nil { // workers ask from time to time
		k.log.Warn("workers hear of the manifest later", "error", err)
	}
}

// prepare makes the consumers of the functions that are new, or are retried in another way than before: they are there
// before anybody can send a function anything.
func (k *keeper) prepare(ctx context.Context, m *deploy.Manifest) error {
	group, adding := errgroup.WithContext(ctx)
	group.SetLimit(consumersAt)
	known := make(map[string]deploy.Retry)
	for _, fn := range k.catalog.Manifest().Functions {
		known[fn.Name] = fn.Retry
	}
	for _, fn := range m.Functions {
		if retry, ok := known[fn.Name]; !ok || retry != fn.Retry {
			group.Go(func() error { return k.queue.AddFunction(adding, fn.Name, queue.Retry(fn.Retry)) })
		}
	}
	return group.Wait()
}

// take waits for the turn; the caller gives it back.
func (k *keeper) take(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keeper) giveBack() { <-k.turn }

// applyRequest is a manifest that somebody wants in force.
type applyRequest struct {
	File   string `json:"file"` // its name, for the faults
	Text   string `json:"text"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// applied says what a manifest changes, or why it is refused.
type applied struct {
	Faults []string `json:"faults,omitempty"` // then nothing has changed
	console.Applied
}

// faulty is the error of a manifest that is refused: the faults.
type faulty struct{ error }

// apply answers the endpoint funker.apply. The manifest is in force when it returns, or nothing has changed.
func (k *keeper) apply(ctx context.Context, body string) (any, error) {
	var r applyRequest
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	a, err := k.put(ctx, r.File, console.Change{Text: r.Text, DryRun: r.DryRun})
	if wrong := (faulty{}); errors.As(err, &wrong) {
		return refusal(wrong.error), nil
	}
	return applied{Applied: a}, err
}

// put puts a manifest in force. The error is faulty when it is refused.
func (k *keeper) put(ctx context.Context, name string, c console.Change) (a console.Applied, err error) {
	if k.fixed {
		return a, k.inFile()
	}
	if err := k.take(ctx); err != nil {
		return a, err
	}
	defer k.giveBack()
	if c.May != nil && !c.May(k.revision, k.text != "") {
		return a, console.ErrStale
	}
	return k.putHeld(ctx, name, c)
}

// putHeld is put for one who has the turn.
func (k *keeper) putHeld(ctx context.Context, name string, c console.Change) (a console.Applied, err error) {
	m, err := k.parse(name, c.Text)
	if err != nil {
		return a, faulty{err}
	}
	a = console.Applied{Warnings: m.Warnings, Changes: deploy.Compare(k.catalog.Manifest(), m), DryRun: c.DryRun, Revision: k.revision}
	if c.DryRun {
		a.Services, err = k.services.changes(ctx, m)
		return a, err
	}
	if k.services != nil {
		defer k.services.reconciler.Refresh() // a tag may stand for another image now
	}
	if len(a.Changes) == 0 && c.Text == k.text {
		return a, nil
	}
	if err := k.replace(ctx, m, c.Text); err != nil {
		return a, err
	}
	a.Revision = k.revision
	k.log.Info("manifest applied", "revision", k.revision, "functions", len(m.Functions), "triggers", len(m.Triggers), "changes", len(a.Changes))
	return a, nil
}

// parse reads a manifest strictly.
func (k *keeper) parse(name, text string) (*deploy.Manifest, error) {
	m, err := deploy.ParseApplied(name, []byte(text), k.options)
	if err != nil {
		return nil, err
	}
	return m, ingress.Check(m)
}

// refusal lists what is wrong with a manifest.
func refusal(err error) applied {
	var faults deploy.Faults
	if !errors.As(err, &faults) {
		return applied{Faults: []string{err.Error()}}
	}
	a := applied{}
	for _, f := range faults {
		a.Faults = append(a.Faults, f.String())
	}
	return a
}

// replace stores a manifest in place of the one that was stored last, and puts it in force. A crash in between does no
// harm: the next start finds the stored one.
func (k *keeper) replace(ctx context.Context, m *deploy.Manifest, text string) error {
	if err := k.prepare(ctx, m); err != nil {
		return err
	}
	if text != k.text || k.revision == 0 {
		revision, err := k.queue.PutConfig(ctx, []byte(text), k.revision)
		if err != nil {
			return err
		}
		k.revision, k.text = revision, text
	}
	k.faults = 0
	k.force(m)
	return nil
}

// follow takes over what others store, such as the stock nats command, until ctx is cancelled. While the stored manifest
// has faults it looks from time to time whether they are gone: a missing secret file may come late.
func (k *keeper) follow(ctx context.Context) error {
	if k.fixed {
		return nil
	}
	var mending errgroup.Group
	mending.Go(func() error {
		t := time.NewTicker(mendEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				k.mend(ctx)
			case <-ctx.Done():
				return nil
			}
		}
	})
	err := k.queue.WatchConfig(ctx, func() { k.takeOver(ctx) })
	return errors.Join(err, mending.Wait())
}

// takeOver puts a manifest in force that somebody else has stored, unless it has faults.
func (k *keeper) takeOver(ctx context.Context) {
	if k.take(ctx) != nil {
		return
	}
	defer k.giveBack()
	c, err := k.queue.Config(ctx)
	if c.Revision == k.revision && err == nil {
		return
	}
	var m *deploy.Manifest
	if err == nil && c.Text == nil {
		err = errors.New("it was deleted")
	}
	if err == nil {
		m, err = k.parse(storedName, string(c.Text))
	}
	if err == nil {
		err = k.prepare(ctx, m)
	}
	if ctx.Err() != nil {
		return
	}
	k.revision, k.text = max(k.revision, c.Revision), string(c.Text)
	if err != nil {
		k.log.Error("the manifest that somebody has stored is refused: the one before stays in force until the gateway starts again", "revision", c.Revision, "error", err)
		return
	}
	k.faults = 0
	k.force(m)
	k.log.Info("manifest taken over", "revision", c.Revision, "functions", len(m.Functions), "triggers", len(m.Triggers))
}

// mend puts the stored manifest in force again when it has fewer faults than before.
func (k *keeper) mend(ctx context.Context) {
	if k.take(ctx) != nil {
		return
	}
	defer k.giveBack()
	if k.faults == 0 {
		return
	}
	m, faults := deploy.Salvage(storedName, []byte(k.text), k.options)
	if len(faults) >= k.faults {
		return
	}
	if err := k.prepare(ctx, m); err != nil {
		k.log.Error("the stored manifest cannot be put in force", "error", err)
		return
	}
	k.faults = len(faults)
	k.force(m)
	k.log.Info("the stored manifest has fewer faults: it is in force again", "faults", len(faults))
}
