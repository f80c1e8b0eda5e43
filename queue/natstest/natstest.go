// Package natstest runs NATS servers of somebody else's, as a gateway may use them in place of its own. It is for tests.
package natstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a NATS server in this process.
type Server struct {
	*server.Server
	t       testing.TB
	options *server.Options
}

// Start runs a server until the test ends, as a configuration file of nats-server says: but on loopback, at a port that is
// free, and with a folder of the test.
func Start(t testing.TB, config string) *Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.StoreDir, o.NoLog, o.NoSigs = "127.0.0.1", server.RANDOM_PORT, t.TempDir(), true, true
	s := &Server{t: t, options: o}
	t.Cleanup(s.Stop)
	s.Run()
	return s
}

// Run starts the server, again at the address that it had.
func (s *Server) Run() {
	s.t.Helper()
	o := s.options.Clone()
	var err error
	if s.Server, err = server.NewServer(o); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		s.t.Fatal("the NATS server is not ready")
	}
	addr, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		s.t.Fatalf("the NATS server listens at %v", s.Addr())
	}
	s.options.Port = addr.Port
}

// Stop ends the server. It may be called again.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// URL is where clients connect.
func (s *Server) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port) }

// FreePort returns a port that no connection of the kernel's own choice takes meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.N(22000)
		if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
			return port
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return 0
}

// StartCluster runs three servers that are a cluster, each as the configuration says, and returns when they have a leader.
func StartCluster(t testing.TB, config string) []*Server {
	t.Helper()
	var ports [3]int
	var routes []string
	for i := range ports {
		ports[i] = FreePort(t)
		routes = append(routes, fmt.Sprintf("\"nats-route://127.0.0.1:%d\"", ports[i]))
	}
	var all []*Server
	for i, port := range ports {
		all = append(all, Start(t, fmt.Sprintf("%s\nserver_name: n%d\ncluster {name: theirs, listen: \"127.0.0.1:%d\", routes: [%s]}\n", config, i, port, strings.Join(routes, ", "))))
	}
	for deadline := time.Now().Add(time.Minute); !led(all); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster has no leader")
		}
	}
	return all
}

func led(all []*Server) bool {
	for _, s := range all {
		if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(all) {
			return true
		}
	}
	return false
}
