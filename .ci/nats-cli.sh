#!/usr/bin/env bash
# nats-cli.sh - the stock nats CLI against a running gateway: it lists, reads and replays events, calls and dead letters.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
pids=()
finish() {
	local rc=$?
	[ ${#pids[@]} = 0 ] || { kill "${pids[@]}" 2>/dev/null || true; wait "${pids[@]}" 2>/dev/null || true; }
	[ "$rc" = 0 ] || { echo "nats-cli.sh: FAILED"; tail -n 20 "$work"/*.log; }
	rm -rf "$work"
}
trap finish EXIT

# until_ok COMMAND... repeats a command for at most 20 s.
until_ok() {
	local end=$((SECONDS + 20))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not within 20 s: $*"; return 1; }
		sleep 0.1
	done
}

# expect TEXT COMMAND... runs a command and looks for a text in what it prints.
expect() {
	local want=$1 got
	shift
	echo "\$ $*"
	got=$("$@" 2>&1) || { echo "$got"; echo "failed: $*"; return 1; }
	echo "$got" | head -n 12
	grep -qF -- "$want" <<<"$got" || { echo "no '$want' in it"; return 1; }
}

go build -o "$work/fd" ./cmd/funker-dispatch
fd=$work/fd
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
hello=127.0.0.1:$(port) fetch=127.0.0.1:$(port) public=127.0.0.1:$(port) nats=127.0.0.1:$(port) admin=127.0.0.1:$(port)
echo correct-horse >"$work/secret"
cat >"$work/functions.yaml" <<YAML
functions: {HelloIntent: {addresses: ["$hello"]}, CommitFetch: {addresses: ["$fetch"]}}
triggers: [{alexa: amzn1.ask.skill.5a3b1c0e-0000-4000-8000-000000000001, verify: id-only}, {github: acme, secret-file: secret, function: CommitFetch}]
YAML
"$fd" function hello --listen "$hello" >"$work/hello.log" 2>&1 & pids+=($!)
"$fd" function commits --listen "$fetch" >"$work/fetch.log" 2>&1 & pids+=($!)
"$fd" serve --manifest "$work/functions.yaml" --data "$work/data" --listen "$public" --admin "$admin" --nats-listen "$nats" >"$work/serve.log" 2>&1 & pids+=($!)
until_ok curl -fsS "http://$public/healthz"

sign() { "$fd" sign "$1" --send --manifest "$work/functions.yaml" "http://$public"; }
sign alexa | tee "$work/alexa"
grep -q 'Hello from your own swarm' "$work/alexa"
id=$(sign github | sed -n 's/^Funker-Event-Id: //p')

export NATS_URL=nats://$nats NATS_NKEY=$work/data/admin.nk NO_COLOR=1
if NATS_NKEY='' nats stream ls >/dev/null 2>&1; then echo "the server lets anybody in"; exit 1; fi
expect FUNKER_EVENTS nats stream ls
expect funker.event.github-acme.CommitFetch nats stream subjects FUNKER_EVENTS
expect 'X-Github-Event: push' nats stream get FUNKER_EVENTS 1
expect 'Funker-Source: alexa' nats stream get FUNKER_CALLS 1
expect "$id" nats req funker.events 20 --raw
expect '"source":"alexa"' nats req funker.calls 20 --raw
expect "$id" nats req funker.replay "$id" --raw
expect 'FUNKER_CALLS/1' nats req funker.replay FUNKER_CALLS/1 --raw
expect 404 nats req funker.replay nonsense
expect replay nats service info funker
expect fn-CommitFetch nats consumer ls FUNKER_EVENTS
replayed() { "$fd" events show "$1" --nats-url "nats://$nats" --data "$work/data" | grep -q "ok.*replay of $2"; }
until_ok replayed "$id" FUNKER_EVENTS/1
until_ok replayed FUNKER_CALLS/1 FUNKER_CALLS/1
expect 'replay of FUNKER_EVENTS/1' "$fd" events show "$id" --nats-url "nats://$nats" --data "$work/data"
expect CommitFetch "$fd" events list --nats-url "nats://$nats" --data "$work/data"

# A push without a ref is refused by its function: a dead letter.
dead=$("$fd" invoke CommitFetch --async -d '{"ref":1}' --nats-url "nats://$nats" --data "$work/data")
is_dead() { nats req funker.letter "$dead" --raw | grep -q '"reason":"refused"'; }
until_ok is_dead
expect "$dead" nats req funker.dead 20 --raw
expect "$dead" nats req funker.dead '{"function":"CommitFetch","reason":"refused"}' --raw
expect 'Funker-Reason: refused' nats stream get FUNKER_DEAD 1
expect '"state":"dead"' nats req funker.events '{"state":"dead","limit":5}' --raw
expect FUNKER_DEAD/1 nats req funker.replay FUNKER_DEAD/1 --raw
dead_again() { nats req funker.letter "$dead" --raw | grep -q FUNKER_DEAD/2; }
until_ok dead_again
expect FUNKER_DEAD/2 nats req funker.drop FUNKER_DEAD/2 --raw
expect 404 nats req funker.letter FUNKER_DEAD/2
expect '"state":"dropped"' nats req funker.show "$dead" --raw
expect '"dropped":1' nats req funker.balance '' --raw
expect '"drift":0' nats req funker.balance '' --raw
expect '"function":"CommitFetch"' nats req funker.stats '' --raw
expect 'no dead letters' "$fd" dead list --nats-url "nats://$nats" --data "$work/data"
echo "the nats CLI lists, reads, replays and drops"
