package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
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
	readyLimit = 5 * time.Minute // recovery of a large store counts
	storeMax   = 64 << 30        // bytes the streams may take in all; the file system may be full earlier
)

// embedded is the NATS server of this process, and the lock on its data folder.
type embedded struct {
	*server.Server
	lock *os.File
}

// startServer locks dir and starts a server that keeps its streams there. An empty listen address means that
// only this process can connect.
func startServer(dir, listen string, log *slog.Logger) (*embedded, nkeys.KeyPair, error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	s, own, err := newServer(dir, listen, log)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	s.Start()
	if !s.ReadyForConnections(readyLimit) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, nil, errors.Join(fmt.Errorf("NATS server is not ready after %s: see the log", readyLimit), lock.Close())
	}
	return &embedded{s, lock}, own, nil
}

func newServer(dir, listen string, log *slog.Logger) (*server.Server, nkeys.KeyPair, error) {
	users, own, err := loadUsers(dir)
	if err != nil {
		return nil, nil, err
	}
	opts := &server.Options{
		ServerName: "funker", JetStream: true, JetStreamDomain: "funker", StoreDir: filepath.Join(dir, "jetstream"),
		SyncAlways: true, JetStreamMaxStore: storeMax, JetStreamMaxMemory: 64 << 20,
		NoSigs: true, NoLog: true, DisableJetStreamBanner: true, NoSystemAccount: true,
		MaxPayload: maxPayload, PingInterval: 2 * time.Second, MaxPingsOut: 2,
		LameDuckGracePeriod: 200 * time.Millisecond, LameDuckDuration: time.Second,
		DontListen: listen == "", Nkeys: users,
	}
	if listen != "" {
		if opts.Host, opts.Port, err = splitAddress(listen); err != nil {
			return nil, nil, err
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("configure NATS server: %w", err)
	}
	s.SetLoggerV2(serverLog{log}, false, false, false)
	return s, own, nil
}

// splitAddress also makes sure that the address is free: the server itself would end the process.
func splitAddress(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("NATS listen address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("NATS listen address %q: port must be a number up to 65535", address)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return "", 0, fmt.Errorf("%w: %s", ErrAddressInUse, address)
		}
		return "", 0, fmt.Errorf("NATS listen address: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, l.Close()
}

// stop ends the server and gives the data folder free.
func (s *embedded) stop() error {
	s.Shutdown()
	s.WaitForShutdown()
	return s.lock.Close()
}

// lockFolder makes dir when it is missing and takes the lock on it, which the kernel releases with the process.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by process %s; stop it or choose another folder", ErrLocked, dir, holder(f))
		}
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write data folder: %w", err), f.Close())
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

// loadUsers reads or makes the key files, and makes a key for this process which is never stored.
func loadUsers(dir string) ([]*server.NkeyUser, nkeys.KeyPair, error) {
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
	key, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w: remove it and a new one is made", file, err)
	}
	return key, nil
}

func makeKey(file string) (nkeys.KeyPair, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	seed, err := key.Seed()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return key, nil
}

// workerPermissions are all that a worker needs. "*" stands for a whole token, so consumers cannot be narrowed to fn-….
func workerPermissions() *server.Permissions {
	allow := []string{"$JS.ACK.>", "funker.log.*.*", dispatchInbox + ".>"}
	for _, stream := range []string{streamEvents, streamCalls, streamRetry} {
		allow = append(allow, pullSubject(stream, "*"))
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: allow},
		Subscribe: &server.SubjectPermission{Allow: []string{workerInbox + ".>", "funker.here.*", "funker.wake.*.*"}},
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
func (l serverLog) Errorf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }
