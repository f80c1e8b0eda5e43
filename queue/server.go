package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// ErrLocked means that another process uses the data folder.
var ErrLocked = errors.New("data folder is in use")

// ErrAddressInUse means that the NATS listen address is taken.
var ErrAddressInUse = errors.New("NATS address is in use")

const (
	readyLimit = 10 * time.Second // until it listens, once the store is recovered
	storeMax   = 1 << 62          // the server's own limit, which it cannot change while it runs: see disk.limit
)

// embedded is the NATS server of this process, and the lock on its data folder.
type embedded struct {
	*server.Server
	lock *os.File
}

// startServer locks the data folder and starts a server that keeps its streams there. An empty listen address means
// that only this process can connect.
func startServer(ctx context.Context, o Options) (*embedded, nkeys.KeyPair, error) {
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(refuseOutside(o.Dir), o.Cluster.claim(o.Dir), restoreStates(o.Dir, o.Log), dropSchedules(o.Dir)); err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	s, own, err := newServer(ctx, o)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	s.Start() // returns when the store is recovered, or cannot be opened: then the log says why, and the server is not ready
	if !s.ReadyForConnections(readyLimit) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, nil, errors.Join(errors.New("the store cannot be opened: the line of the NATS server in the log says why"), lock.Close())
	}
	return &embedded{s, lock}, own, nil
}

func newServer(ctx context.Context, o Options) (*server.Server, nkeys.KeyPair, error) {
	users, own, err := loadUsers(o)
	if err != nil {
		return nil, nil, err
	}
	opts := &server.Options{
		ServerName: "funker", JetStream: true, JetStreamDomain: "funker", StoreDir: filepath.Join(o.Dir, streamsDir),
		SyncAlways: o.Durability == DurabilityAlways, JetStreamMaxStore: storeMax, JetStreamMaxMemory: 64 << 20,
		NoSigs: true, NoLog: true, DisableJetStreamBanner: true, NoSystemAccount: true,
		MaxPayload: maxPayload, PingInterval: 2 * time.Second, MaxPingsOut: 2,
		DontListen: o.Listen == "", Nkeys: users,
	}
	if o.Listen != "" {
		if opts.Host, opts.Port, err = listenAddress(ctx, "nats-listen", o.Listen); err != nil {
			return nil, nil, err
		}
	}
	if o.Cluster != nil {
		if err := o.Cluster.configure(ctx, opts); err != nil {
			return nil, nil, err
		}
	}
	if o.WorkersWithoutKey {
		opts.NoAuthUser = users[workerUser].Nkey
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("configure NATS server: %w", err)
	}
	s.SetLoggerV2(serverLog{o.Log}, false, false, false)
	return s, own, nil
}

// stop ends the server, lets flush sync what it wrote, and gives the data folder free. It does so at once: in lame duck
// mode, which tells the workers first, the server goes on to read what they send after JetStream has ended, and loses
// the acknowledgements of a quarter of a second. What a worker sends without a connection arrives after the restart.
func (s *embedded) stop(flush func() error) error {
	s.Shutdown()
	s.WaitForShutdown()
	return errors.Join(flush(), s.lock.Close())
}

// lockFolder makes dir when it is missing and takes the lock on it, which the kernel releases with the process. It leaves
// a folder alone that is not a data folder.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if abs, err := filepath.Abs(dir); err == nil { // else as it was given
				dir = abs
			}
			return nil, fmt.Errorf("%w: %s is held by process %s; stop it or choose another folder", ErrLocked, dir, holder(f))
		}
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write data folder: %w", err), f.Close())
	}
	if err := writeFormat(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	buf := make([]byte, 16)
	n, err := f.ReadAt(buf, 0)
	if pid := strings.TrimSpace(string(buf[:n])); pid != "" && (err == nil || n > 0) {
		return pid
	}
	return "unknown"
}

// Key files in the data folder: nkey seeds, readable by their owner only. `nats --nkey FILE` takes them as well.
const (
	AdminKey  = "admin.nk"  // may do everything: the command line and the stock nats CLI
	WorkerKey = "worker.nk" // may pull work and report what came of it
)

// workerUser is the place of the workers among the users.
const workerUser = 2

// loadUsers reads or makes the key files, and makes a key for this process which is never stored. The gateways of a cluster
// have the same key files. While a gateway is held there are no workers.
func loadUsers(o Options) ([]*server.NkeyUser, nkeys.KeyPair, error) {
	dir := o.Dir
	if o.Cluster != nil {
		if err := o.Cluster.writeKeys(dir); err != nil {
			return nil, nil, err
		}
	}
	admin, err := loadKey(filepath.Join(dir, AdminKey))
	if err != nil {
		return nil, nil, err
	}
	worker, err := loadKey(filepath.Join(dir, WorkerKey))
	if err != nil {
		return nil, nil, err
	}
	own, err := nkeys.CreateUser()
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	var users []*server.NkeyUser
	for _, u := range []struct {
		key         nkeys.KeyPair
		permissions *server.Permissions
	}{{own, nil}, {admin, nil}, {worker, workerPermissions()}} {
		public, err := u.key.PublicKey()
		if err != nil {
			return nil, nil, fmt.Errorf("read key: %w", err)
		}
		users = append(users, &server.NkeyUser{Nkey: public, Permissions: u.permissions})
	}
	if o.held {
		users = users[:workerUser]
	}
	return users, own, nil
}

func loadKey(file string) (nkeys.KeyPair, error) {
	seed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := parseKey(seed)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w: remove it and a new one is made", file, err)
	}
	return key, nil
}

func parseKey(seed []byte) (nkeys.KeyPair, error) { return nkeys.FromSeed(bytes.TrimSpace(seed)) }

func makeKey(file string) (nkeys.KeyPair, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	seed, err := key.Seed()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if err := WriteFile(file, string(seed)+"\n"); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return key, nil
}

// workerPermissions are all that a worker needs. "*" stands for a whole token, so consumers cannot be narrowed to fn-….
func workerPermissions() *server.Permissions {
	allow := []string{
		"$JS.ACK.>", "funker.log.*.*", retrySubject("*", "*"), redoSubject("*"), deadSubject("*", "*"),
		subjectSync, subjectSettled, subjectFunctions, heartbeatSubject("*"), dispatchInbox + ".>",
		apiPrefix("") + "DIRECT.GET." + streamBodies, apiPrefix("") + leaderGet + streamBodies,
	}
	for _, stream := range []string{streamEvents, streamCalls, streamRetry} {
		allow = append(allow, pullSubject(apiPrefix(""), stream, "*"), apiPrefix("")+"CONSUMER.INFO."+stream+".*")
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: allow},
		Subscribe: &server.SubjectPermission{Allow: []string{workerInbox + ".>", "funker.here.*", "funker.wake.*.*", subjectFunctionsChanged, leaderAdvisory("*")}},
	}
}

// withKey authenticates a connection by an nkey.
func withKey(key nkeys.KeyPair) (nats.Option, error) {
	public, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return nats.Nkey(public, key.Sign), nil
}

// serverLog passes the server's log on. Its notices are details here.
type serverLog struct{ log *slog.Logger }

func (l serverLog) line(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats server", "message", fmt.Sprintf(format, v...))
	}
}
func (l serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.line(slog.LevelWarn, format, v) }

// Errorf leaves out, but for details, what a server of a cluster says of another one twice a second; see Cluster.
func (l serverLog) Errorf(format string, v ...any) {
	level := slog.LevelError
	if strings.HasPrefix(format, "Error trying to connect to route") {
		level = slog.LevelDebug
	}
	l.line(level, format, v)
}
func (l serverLog) Fatalf(format string, v ...any) { l.line(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
