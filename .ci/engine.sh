# shellcheck shell=bash
# engine.sh - Docker Engines of our own; .ci/dockerd and .ci/swarm3 source it.
#
# Each runs in network, pid, mount, uts and ipc namespaces of its own with a private /run. So nothing of the machine is
# touched: no packet filter, no docker0, no engine that somebody else uses. The end of the first process of the pid
# namespace takes the engine and all its containers along, as the crash of a machine does.

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

engine_tools() {
	local tool
	for tool in docker dockerd ip nsenter pgrep setsid unshare; do command -v "$tool" >/dev/null || die "please install $tool"; done
	[ "$(id -u)" = 0 ] || die "only root can start a Docker Engine"
	umask 022
}

# engine_network NAME makes a network namespace. There is no way out of it: a pull fails at once instead of waiting for
# name servers.
engine_network() {
	ip netns add "$1"
	ip -n "$1" link set lo up
	ip -n "$1" route add unreachable default
}

# engine_start DIR NETWORK HOSTNAME starts an engine with the socket DIR/docker.sock; in its own /run it has the usual one.
engine_start() {
	mkdir -p "$1/data"
	rm -f "$1/docker.sock"
	# "ip netns exec" would mount a new /sys without the control groups.
	# shellcheck disable=SC2016  # expanded by the inner shell
	setsid nsenter --net="/run/netns/$2" \
		unshare --mount --uts --ipc --pid --fork --kill-child=SIGKILL --mount-proc --propagation private \
		sh -euc '
			hostname "$3"
			mount -t tmpfs tmpfs /run
			mkdir -p /run/docker /run/lock
			exec dockerd --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid \
				--host "unix://$1/docker.sock" --host unix:///run/docker.sock --cgroup-parent "/$2"
		' sh "$@" >>"$1/log" 2>&1 </dev/null &
	echo $! >"$1/pid"
}

engine_runs() { [ -f "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

# engine_wait DIR waits until the engine answers.
engine_wait() {
	local end=$((SECONDS + 60))
	until docker --host "unix://$1/docker.sock" info >/dev/null 2>&1; do
		if ! engine_runs "$1" || [ $SECONDS -ge $end ]; then
			tail -n 5 "$1/log" >&2
			die "the Docker Engine did not start"
		fi
		sleep 0.1
	done
}

# engine_signal DIR SIGNAL: TERM stops the engine in order, KILL is the crash of its machine.
engine_signal() {
	local first
	first=$(pgrep --parent "$(cat "$1/pid")") || return 0
	kill -s "$2" "$first" 2>/dev/null || true
}

# engine_remove DIR NETWORK ends an engine that has been told to stop, and removes what it leaves.
engine_remove() {
	local end=$((SECONDS + 20)) group
	while engine_runs "$1" && [ $SECONDS -lt $end ]; do sleep 0.1; done
	if engine_runs "$1"; then kill -s KILL "$(cat "$1/pid")"; fi
	wait 2>/dev/null || true
	ip netns del "$2"
	for group in /sys/fs/cgroup/"$2" /sys/fs/cgroup/*/"$2"; do
		[ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done
}
