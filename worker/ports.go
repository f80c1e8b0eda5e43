package worker

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// In the funker protocol the caller closes first, so each call leaves a local port in TIME_WAIT for a minute. With the
// defaults of Linux 28,232 calls to one address within a minute use up all ports, and calls are slow from half of them on.
// On loopback Linux takes such a port again by itself.

const (
	sysctls   = "/proc/sys/net/ipv4"
	fewPorts  = 10000 // fewer are used up by 10,000 calls a second before the first one may be taken again
	reusePort = "1"   // tcp_tw_reuse: a port in TIME_WAIT is taken for another connection after a second
)

// warnOfPorts looks at the settings of this network namespace.
func (w *Worker) warnOfPorts() {
	if advice := portAdvice(sysctls); advice != "" && !w.staysHere() {
		w.Log.Warn("many calls may use up the local ports", "advice", advice)
	}
}

// staysHere reports whether all functions listen on loopback.
func (w *Worker) staysHere() bool {
	for _, fn := range w.Catalog.Manifest().Functions {
		if len(fn.Addresses) == 0 || !allLoopback(fn) {
			return false
		}
	}
	return w.Watch == nil
}

func allLoopback(fn *deploy.Function) bool {
	for _, a := range fn.Addresses {
		host, _, _ := net.SplitHostPort(a) // the manifest is checked; "" is no loopback address
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// portAdvice says which settings should be changed, or "". It knows those of Linux only.
func portAdvice(dir string) string {
	reuse, err := os.ReadFile(filepath.Join(dir, "tcp_tw_reuse"))
	if err != nil {
		return ""
	}
	var advice []string
	if strings.TrimSpace(string(reuse)) != reusePort {
		advice = append(advice, "set the sysctl net.ipv4.tcp_tw_reuse="+reusePort)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ip_local_port_range"))
	if first, last, ok := strings.Cut(strings.TrimSpace(string(text)), "\t"); err == nil && ok {
		low, _ := strconv.Atoi(first) // the kernel's own numbers
		high, _ := strconv.Atoi(last)
		if high-low < fewPorts {
			advice = append(advice, "widen the sysctl net.ipv4.ip_local_port_range="+first+" "+last)
		}
	}
	return strings.Join(advice, "; ")
}
