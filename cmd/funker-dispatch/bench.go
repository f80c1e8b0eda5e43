package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

func benchCommand() *cobra.Command {
	var b bench
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: raw fsync, direct calls, calls through the gateway, durable accepts",
		Long: `bench runs a function, a bare HTTP server that calls it without any queue (the baseline), and a gateway, all in
this process, and measures them in turns. Compare ratios of one run, not figures of two: machines are noisy.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().DurationVar(&b.time, "time", 400*time.Millisecond, "how long each figure is measured, per round")
	cmd.Flags().IntVar(&b.rounds, "rounds", 9, "rounds; the table shows medians")
	cmd.Flags().StringVar(&b.dir, "dir", "", "folder to measure the disk of (default: a temporary one)")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if b.rounds < 1 || b.time <= 0 {
			return usagef("--rounds and --time must be positive")
		}
		debug.SetGCPercent(garbageTarget)
		dir, err := os.MkdirTemp(b.dir, "funker-bench-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		b.dir = dir
		rows, err := b.run(cmd.Context())
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		if *out == "json" {
			return printJSON(cmd.OutOrStdout(), rows)
		}
		return printRows(cmd.OutOrStdout(), rows)
	}
	return cmd
}

// bodySize is the size of the calls and events that are measured, in bytes.
const bodySize = 1024

type bench struct {
	time    time.Duration
	rounds  int
	dir     string
	address string   // of the function
	gateway *gateway // on loopback, with a worker of its own
	remote  *gateway // the same, but its worker is connected by TCP
	bare    string   // URL of the baseline
	client  *http.Client
}

// row is one line of the table: medians over the rounds.
type row struct {
	What     string  `json:"what"`
	Clients  int     `json:"clients"`
	Rate     float64 `json:"per_second"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Versus   string  `json:"versus,omitempty"`     // the row it is compared with
	RateBy   float64 `json:"rate_ratio,omitempty"` // median of the rounds' ratios
	P50By    float64 `json:"p50_ratio,omitempty"`  // likewise
	Failures int64   `json:"failures"`
}

// measurement is one thing to measure, and what to compare it with.
type measurement struct {
	what    string
	clients int
	versus  string
	do      func(ctx context.Context) error
}

const (
	rawSync  = "append 1 KB + fsync"
	direct   = "funker call"
	baseline = "bare HTTP handler + funker call"
	through  = "call through the gateway"
	byTCP    = "the same, with a worker connected by TCP"
	accepted = "durable accept of a signed push"
)

func (b *bench) run(ctx context.Context) ([]row, error) {
	stop, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make file: %w", err), stop())
	}
	rows, err := b.measureAll(ctx, b.measurements(file))
	return rows, errors.Join(err, file.Close(), stop())
}

func (b *bench) measurements(file *os.File) []measurement {
	payload := []byte(`{"data":"` + strings.Repeat("x", bodySize-11) + `"}`)
	var c funker.Client
	m := []measurement{
		{rawSync, 1, "", func(context.Context) error {
			if _, err := file.Write(payload); err != nil {
				return err
			}
			return file.Sync()
		}},
	}
	for _, n := range []int{1, 32, 64} {
		m = append(m, measurement{direct, n, "", func(ctx context.Context) error {
			_, err := c.Call(ctx, b.address, payload)
			return err
		}})
	}
	for _, n := range []int{1, 32, 64} {
		post := func(url string) func(context.Context) error {
			return func(ctx context.Context) error { return b.post(ctx, url, nil, payload, http.StatusOK) }
		}
		m = append(m, measurement{baseline, n, "", post(b.bare)},
			measurement{through, n, baseline, post(b.gateway.public.url() + "/functions/Bench")},
			measurement{byTCP, n, baseline, post(b.remote.public.url() + "/functions/Bench")})
	}
	for _, n := range []int{1, 64} {
		m = append(m, measurement{accepted, n, rawSync, b.push})
	}
	return m
}

// measureAll measures everything in turns, so that a slow minute of the machine hits what is compared alike.
func (b *bench) measureAll(ctx context.Context, all []measurement) ([]row, error) {
	rounds := make([][]row, len(all))
	for range b.rounds {
		for i, m := range all {
			r, err := b.measure(ctx, m)
			if err != nil {
				return nil, fmt.Errorf("%s, %d clients: %w", m.what, m.clients, err)
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	rows := make([]row, len(all))
	for i, m := range all {
		rows[i] = medianRow(rounds[i])
		if m.versus != "" {
			other := slices.IndexFunc(all, func(o measurement) bool {
				return o.what == m.versus && (o.clients == m.clients || m.versus == rawSync)
			})
			rows[i].Versus = m.versus
			rows[i].RateBy = median(rounds[i], func(k int) float64 { return rounds[i][k].Rate / rounds[other][k].Rate })
			if all[other].clients == m.clients {
				rows[i].P50By = median(rounds[i], func(k int) float64 { return rounds[i][k].P50 / rounds[other][k].P50 })
			}
		}
	}
	return rows, nil
}

func medianRow(rounds []row) row {
	r := rounds[0]
	r.Rate = median(rounds, func(k int) float64 { return rounds[k].Rate })
	r.P50 = median(rounds, func(k int) float64 { return rounds[k].P50 })
	r.P99 = median(rounds, func(k int) float64 { return rounds[k].P99 })
	r.Failures = 0
	for _, one := range rounds {
		r.Failures += one.Failures
	}
	return r
}

func median(rounds []row, value func(k int) float64) float64 {
	values := make([]float64, len(rounds))
	for k := range rounds {
		values[k] = value(k)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measure runs one thing with its clients for the time of one figure, after a tenth of it to warm up.
func (b *bench) measure(ctx context.Context, m measurement) (row, error) {
	var failures atomic.Int64
	var firstError error
	var once sync.Once
	begin := time.Now()
	warm, end := begin.Add(b.time/10), begin.Add(b.time/10+b.time)
	times := make([][]time.Duration, m.clients)
	var clients sync.WaitGroup
	for i := range m.clients {
		clients.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if start.After(end) {
					return
				}
				if err := m.do(ctx); err != nil {
					failures.Add(1)
					once.Do(func() { firstError = err })
				} else if took := time.Since(start); start.Add(took).After(warm) {
					times[i] = append(times[i], took)
				}
			}
		})
	}
	clients.Wait()
	if ctx.Err() != nil {
		return row{}, context.Cause(ctx)
	}
	all := slices.Concat(times...)
	if len(all) == 0 {
		return row{}, fmt.Errorf("nothing succeeded: %w", firstError)
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return row{What: m.what, Clients: m.clients, Rate: float64(len(all)) / b.time.Seconds(), P50: ms(all[len(all)/2]),
		P99: ms(all[len(all)*99/100]), Failures: failures.Load()}, nil
}

func (b *bench) post(ctx context.Context, url string, header http.Header, body []byte, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	req.Header = header
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}

func (b *bench) push(ctx context.Context) error {
	t, _ := b.gateway.options.manifest.Trigger("/github/bench")
	body := []byte(`{"ref":"refs/heads/main","commits":[],"repository":{"full_name":"` + strings.Repeat("x", bodySize-80) + `"}}`)
	header, err := trigger.Sign(triggerConfig(t), body, time.Now())
	if err != nil {
		return err
	}
	return b.post(ctx, b.gateway.public.url()+t.Path, header, body, 202)
}

// start runs the function, the baseline, the gateways and the worker of the second one.
func (b *bench) start(ctx context.Context) (stop func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	running, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	stop = func() error {
		b.client.CloseIdleConnections()
		cancel()
		return group.Wait()
	}
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}}
	fl, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), stop())
	}
	b.address = fl.Addr().String()
	reply := json.RawMessage(`{"ok":true}`)
	group.Go(func() error {
		return funker.Serve(running, fl, func(context.Context, json.RawMessage) (json.RawMessage, error) { return reply, nil },
			funker.Options{Concurrency: 256, Log: quiet})
	})
	bl, err := listen(ctx, "baseline", "127.0.0.1:0", &http.Server{Handler: bareHandler(b.address), ReadHeaderTimeout: time.Second})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	b.bare = bl.url()
	context.AfterFunc(running, func() { group.Go(bl.server.Close) })
	group.Go(func() error {
		if err := bl.server.Serve(bl); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	if err := b.startGateways(ctx, running, &group, quiet); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

func (b *bench) startGateways(ctx, running context.Context, group *errgroup.Group, log *slog.Logger) (err error) {
	if b.gateway, err = b.newGateway(ctx, "own", log); err != nil {
		return err
	}
	group.Go(func() error { return b.gateway.run(running) })
	if b.remote, err = b.newGateway(ctx, "remote", log); err != nil {
		return err
	}
	group.Go(func() error { return b.remote.run(running) })
	q, err := queue.Dial(b.remote.queue.URL(), filepath.Join(b.dir, "remote", queue.WorkerKey), queue.RoleWorker, log)
	if err != nil {
		return err
	}
	w := worker.New(worker.Options{Queue: q, Catalog: deploy.NewCatalog(b.remote.options.manifest), Payload: trigger.Payload, Log: log})
	group.Go(func() error { return errors.Join(w.Run(running, after(running, time.Second)), q.Close()) })
	return nil
}

func (b *bench) newGateway(ctx context.Context, name string, log *slog.Logger) (*gateway, error) {
	secret := filepath.Join(b.dir, "secret")
	if err := os.WriteFile(secret, []byte("bench-secret"), 0o600); err != nil {
		return nil, fmt.Errorf("write secret: %w", err)
	}
	m, err := deploy.Parse("bench", fmt.Appendf(nil, `
functions:
  Bench: {addresses: [%q], concurrency: 128}
  Fetch: {addresses: [%q], concurrency: 1}
triggers:
  - {github: bench, secret-file: secret, function: Fetch}
`, b.address, b.address), b.dir)
	if err != nil {
		return nil, err
	}
	return newGateway(ctx, gatewayOptions{
		data: filepath.Join(b.dir, name), manifest: m, listen: "127.0.0.1:0", admin: "127.0.0.1:0", natsListen: "127.0.0.1:0",
		noWorker: name == "remote", grace: time.Second, ingress: ingress.Options{Functions: true}, log: log,
	})
}

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

func printRows(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "clients\tper second\tp50 ms\tp99 ms\trate ratio\tp50 ratio\tfailures\t  what")
	for _, r := range rows {
		ratio, p50 := "", ""
		if r.Versus != "" {
			ratio = fmt.Sprintf("%.2f ×", r.RateBy)
		}
		if r.P50By > 0 {
			p50 = fmt.Sprintf("%.2f ×", r.P50By)
		}
		fmt.Fprintf(t, "%d\t%.0f\t%.2f\t%.2f\t%s\t%s\t%d\t  %s\n", r.Clients, r.Rate, r.P50, r.P99, ratio, p50, r.Failures, r.What)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
Ratios compare a call through the gateway with the bare handler, and a durable accept with append + fsync (1 client),
within each round. On loopback a call per connection uses up a local port for a second: about 14,000/s is the limit
of the machine, whoever calls.
`)
	return err
}
