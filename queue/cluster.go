package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster makes the store of a gateway one with those of others. Each of them runs a server of NATS; together they are a
// JetStream cluster, which keeps three copies of every stream. What is confirmed is on the disks of a majority of them.
type Cluster struct {
	Node     string            // name of this gateway, one of Peers; it stays the same for ever
	Peers    map[string]string // TCP addresses at which the gateways reach each other, by name; this one is among them
	Listen   string            // TCP address for the others; "" takes the port of this gateway's own address, on all interfaces
	Key      ClusterKey        // the same for all
	Version  string            // of this program, for people
	Patience time.Duration     // how long a silent leader is waited for until another one is elected; DefaultPatience
}

const (
	replicas = 3 // of every stream

	// DefaultPatience suits machines whose disks and networks answer within half a second.
	DefaultPatience = time.Second
	// MinPatience is the shortest one.
	MinPatience = 250 * time.Millisecond
	// MaxPatience is the longest one: as long as the server itself waits.
	MaxPatience = 4 * time.Second
)

// ErrCluster means that a data folder belongs to another gateway of a cluster, or to one that stands alone.
var ErrCluster = errors.New("this data folder is another gateway's")

// ParsePeers reads the gateways of a cluster as a person writes them: "a=10.0.0.1:6222,b=10.0.0.2:6222,c=10.0.0.3:6222".
func ParsePeers(text string) (map[string]string, error) {
	peers := map[string]string{}
	for one := range strings.SplitSeq(text, ",") {
		name, address, _ := strings.Cut(strings.TrimSpace(one), "=")
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || !isToken(name) {
			return nil, fmt.Errorf("%q is no gateway: write name=host:port, such as a=10.0.0.1:6222, with a name of letters, digits, - and _", shorten(one, 80))
		}
		if _, twice := peers[name]; twice {
			return nil, fmt.Errorf("there are two gateways %s: give each a name of its own", name)
		}
		peers[name] = address
	}
	return peers, nil
}

// Check refuses a cluster that cannot work.
func (c *Cluster) Check() error {
	if n := len(c.Peers); n != 3 && n != 5 {
		return fmt.Errorf("a cluster has 3 or 5 gateways, and %d are named: two cannot tell which of them is cut off, and an even number is no safer than one less", n)
	}
	if _, ok := c.Peers[c.Node]; !ok {
		return fmt.Errorf("this gateway is %q, which is none of %s", c.Node, strings.Join(slices.Sorted(maps.Keys(c.Peers)), ", "))
	}
	if c.Patience != 0 && (c.Patience < MinPatience || c.Patience > MaxPatience) {
		return fmt.Errorf("patience with a leader is %s: choose %s to %s", c.Patience, MinPatience, MaxPatience)
	}
	return c.Key.check()
}

// configure makes a server one of the cluster. The servers do not tell clients of each other: behind their addresses may
// be a network that workers do not reach.
func (c *Cluster) configure(ctx context.Context, o *server.Options) error {
	_, port, err := net.SplitHostPort(c.Peers[c.Node])
	if err != nil {
		return fmt.Errorf("address of %s: %w", c.Node, err)
	}
	listen := c.Listen
	if listen == "" {
		listen = ":" + port
	}
	o.ServerName, o.SyncAlways, o.NoSystemAccount = c.Node, true, false
	o.Cluster = server.ClusterOpts{
		Name: clusterName, NoAdvertise: true, TLSTimeout: routeLimit.Seconds(), PingInterval: routePing, MaxPingsOut: 2,
	}
	if o.Cluster.Host, o.Cluster.Port, err = listenAddress(ctx, "cluster-listen", listen); err != nil {
		return err
	}
	if o.Cluster.TLSConfig, err = c.Key.tls(); err != nil {
		return err
	}
	for name, address := range c.Peers {
		if name != c.Node {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: address})
		}
	}
	return beImpatient(c.Patience)
}

const (
	clusterName = "funker"
	routeLimit  = 5 * time.Second // for the handshake of two servers
	routePing   = time.Second     // two of them unanswered: the other server is cut off
)

// clusterFile is the name of a gateway, in its data folder.
const clusterFile = "cluster"

// claim makes a new data folder that of a gateway of the cluster, or of none when c is nil. It returns ErrCluster for the
// folder of another one: its events would not be found.
func (c *Cluster) claim(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, clusterFile))
	owner := strings.TrimSpace(string(data))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read data folder: %w", err)
	case c == nil && err == nil:
		return fmt.Errorf("%w: %s is that of %s in a cluster: start it with --cluster-peers and what belongs to it, or choose another folder", ErrCluster, dir, owner)
	case c == nil || owner == c.Node:
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s is that of %s, and this gateway is %s: give each its own folder, for ever", ErrCluster, dir, owner, c.Node)
	}
	streams, err := fs.Glob(os.DirFS(serverFolder(dir)), "*")
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	if len(streams) > 0 {
		return fmt.Errorf("%w: %s holds the events of one that stands alone, and a cluster would not see them: choose another folder, and move them as docs/cluster-move.md says", ErrCluster, dir)
	}
	if err := WriteFile(filepath.Join(dir, clusterFile), c.Node+"\n"); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	return nil
}

// persist calls f until the cluster has a leader for what f asks for, or ctx ends. Elsewhere it calls f once.
func (q *Queue) persist(ctx context.Context, f func(context.Context) error) error {
	if !q.clustered() {
		return f(ctx)
	}
	return insist(ctx, f)
}

// insist calls f until it gets an answer, a second each time: what a server was asked that is lost is not answered by the
// one that takes its place.
func insist(ctx context.Context, f func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, tryLimit)
		err := f(try)
		cancel()
		if err == nil || !unavailable(err) || errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		select {
		case <-time.After(joinEvery):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// shareEvents returns how much events may take in a cluster, in bytes, for a gateway that was not told: as much as the cluster
// has for them. Each gateway would choose by its own disk, and change the streams at its start to what another one changes
// back. A new cluster gets what the first one chooses.
func (q *Queue) shareEvents(ctx context.Context, o Options, disk space) (most int64, err error) {
	cfg := streamsOf(o)[0]
	cfg.Metadata = settings(cfg)
	err = q.insistOnStream(ctx, func(ctx context.Context) error {
		s, err := q.js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = q.js.CreateStream(ctx, cfg)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // since it was looked for
			s, err = q.js.Stream(ctx, cfg.Name)
		}
		if err != nil {
			return fmt.Errorf("open stream %s: %w", cfg.Name, err)
		}
		most = s.CachedInfo().Config.MaxBytes
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case most > disk.store():
		q.log.Warn("events may take more in this cluster than this disk has: it is full first; --max-events at all gateways changes that",
			"cluster", formatSize(most), "disk", formatSize(disk.store()))
	case most != o.MaxEvents:
		q.log.Info("events may take as much as the cluster has for them; --max-events at all gateways changes that",
			"cluster", formatSize(most), "by_disk", formatSize(o.MaxEvents))
	}
	return most, nil
}

// clustered reports whether the server is one of several, or may be: behind an outside one, or in another domain.
func (q *Queue) clustered() bool {
	return q.outside != nil || q.prefix != apiPrefix("") || q.member.Load() || q.nc.ConnectedClusterName() != ""
}

// join returns when the cluster has a leader: as soon as most gateways run.
func (q *Queue) join(ctx context.Context) error {
	t := time.NewTicker(joinEvery)
	defer t.Stop()
	for begun, said := time.Now(), false; ; {
		ask, cancel := context.WithTimeout(ctx, joinTry)
		_, err := q.js.AccountInfo(ask)
		cancel()
		if err == nil {
			return nil
		}
		if !said && time.Since(begun) > joinQuiet {
			said = true
			q.log.Warn("waiting until most gateways of the cluster are there", "reached", q.server.NumRoutes() > 0, "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("join the cluster: %w", context.Cause(ctx))
		}
	}
}

const (
	joinEvery = 100 * time.Millisecond
	joinTry   = 300 * time.Millisecond // who has no leader yet does not answer
	joinQuiet = 5 * time.Second
)
