package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/funker-dispatch/funker-dispatch/queue/natstest"
)

// plainServer lets everybody in.
const plainServer = "max_payload: 8MB\njetstream {}\n"

// openOutsideAt opens a gateway that keeps its streams at a server of somebody else's.
func openOutsideAt(t testing.TB, o Outside, functions ...string) *Queue {
	t.Helper()
	return openWith(t, Options{Dir: filepath.Join(t.TempDir(), "data"), AckWait: MinAckWait, Outside: &o}, functions...)
}

// dialWorker connects a worker of another machine.
func dialWorker(t testing.TB, o DialOptions) *Queue {
	t.Helper()
	o.Role, o.Log = RoleWorker, testLog(t)
	w, err := DialWith(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	within(t, time.Minute, "the worker is connected", w.Connected)
	return w
}

// mustDoAll has a worker elsewhere run what a gateway takes.
func mustDoAll(t *testing.T, q, w *Queue) {
	t.Helper()
	retry := Retry{Attempts: 2, Initial: 10 * time.Millisecond}
	if err := q.AddFunction(t.Context(), "Odd", retry); err != nil {
		t.Fatal(err)
	}
	workAs(t, w, "Odd", retry, 2, func(e *Event) Result {
		if e.Header["X-Fails"] == "once" && e.Attempt == 0 || e.Header["X-Fails"] == "always" && e.ReplayOf == "" {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "odd"}
		}
		return Result{Outcome: OutcomeOK, Reply: fmt.Append(nil, len(e.Body))}
	})
	send := func(fails string, size int) string {
		r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Odd", Header: map[string]string{"X-Fails": fails}, Body: []byte(strings.Repeat("1", size))})
		if err != nil {
			t.Fatalf("publish what fails %q: %v", fails, err)
		}
		return r.ID
	}
	never, once, always, large := send("", 1), send("once", 1), send("always", 1), send("", MaxMessage+1)
	for id, want := range map[string]State{never: StateOK, once: StateOK, always: StateDead, large: StateOK} {
		awaitStands(t, q, id, want)
	}
	reply, err := q.Call(t.Context(), &Event{Source: "s", Function: "Odd", Body: []byte(`123`)})
	if err != nil || string(reply) != "3" {
		t.Errorf("call: %s, %v", reply, err)
	}
	if dead, err := q.DeadLetters(t.Context(), DeadFilter{}); err != nil || len(dead) != 1 {
		t.Errorf("dead letters: %+v, %v", dead, err)
	}
	if _, err := q.Replay(t.Context(), always, ""); err != nil {
		t.Fatal(err)
	}
	awaitStands(t, q, always, StateOK)
	mustBatch(t, q)
	mustBeWhole(t, q)
}

// awaitStands waits for longer than several leaders take to be elected, and what they gave out to be given out again.
func awaitStands(t *testing.T, q *Queue, id string, want State) {
	t.Helper()
	within(t, 3*time.Minute, id+" is "+string(want), func() bool {
		r, err := q.Get(t.Context(), id)
		return err == nil && r.State == want
	})
}

func mustBatch(t *testing.T, q *Queue) {
	t.Helper()
	var events []*Event
	for i := range 10 {
		events = append(events, &Event{Source: "s", Function: "Odd", DeliveryID: fmt.Sprint(i), Body: []byte(`1`)})
	}
	receipts, err := q.PublishAll(t.Context(), events)
	if err != nil {
		t.Fatalf("publish a batch: %v", err)
	}
	for _, r := range receipts {
		awaitStands(t, q, r.ID, StateOK)
	}
	if again, err := q.PublishAll(t.Context(), events); err != nil || !slices.ContainsFunc(again, func(r Receipt) bool { return r.Duplicate }) {
		t.Errorf("publish it again: %+v, %v", again, err)
	}
}

// mustBeWhole holds the balance and everything that is stored against what mustDoAll did.
func mustBeWhole(t *testing.T, q *Queue) {
	t.Helper()
	within(t, time.Minute, "all is counted", func() bool {
		b, err := q.Balance(t.Context())
		return err == nil && b.Drift == 0 && b.Accepted == 14 && b.Succeeded == 14 && b.Dead == 1
	})
	report, err := q.Verify(t.Context(), nil)
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("verify: %+v, %v", report.Findings, err)
	}
	stats, err := q.Stats(t.Context())
	if err != nil || len(stats) != 1 || stats[0].Function != "Odd" {
		t.Errorf("stats: %+v, %v", stats, err)
	}
	if err := q.sweepBodies(t.Context()); err != nil {
		t.Errorf("sweep: %v", err)
	}
	u, err := q.Usage(t.Context())
	if err != nil || len(u.Warnings()) > 0 {
		t.Errorf("usage: %+v, %v", u, err)
	}
	report, err = q.Backup(t.Context(), filepath.Join(t.TempDir(), "backup"), nil)
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("backup: %+v, %v", report.Findings, err)
	}
}

// documentedServer returns a configuration of docs/nats.md, the first one or the second.
func documentedServer(t testing.TB, n int) string {
	t.Helper()
	text, err := os.ReadFile("../docs/nats.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```conf\n")
	if len(parts) <= n {
		t.Fatalf("docs/nats.md has %d configurations", len(parts)-1)
	}
	config, _, _ := strings.Cut(parts[n], "```")
	return config
}

// at puts a user and a password into an address.
func at(user, password, url string) string {
	return strings.Replace(url, "://", "://"+user+":"+strings.ReplaceAll(password, " ", "%20")+"@", 1)
}

func TestOutside_TheDocumentedPermissionsSuffice(t *testing.T) {
	s := natstest.Start(t, documentedServer(t, 1))
	q := openOutsideAt(t, Outside{URL: at("gateway", "choose one", s.URL())})
	w := dialWorker(t, DialOptions{URL: at("worker", "choose another", s.URL())})
	mustDoAll(t, q, w)
	if got := q.URL(); strings.Contains(got, "choose") {
		t.Errorf("the address shows the password: %s", got)
	}
}

func TestOutside_TheDocumentedPermissionsOfAWorkerAreThoseOfAnEmbeddedServer(t *testing.T) {
	_, lists, _ := strings.Cut(documentedServer(t, 1), `"choose another"`)
	var got []string
	for i, part := range strings.Split(lists, `"`) {
		if i%2 == 1 {
			got = append(got, part)
		}
	}
	p := workerPermissions()
	want := slices.Concat(p.Publish.Allow, p.Subscribe.Allow)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the documentation has\n%q\nand an embedded server\n%q", got, want)
	}
}

func TestOutside_TakesAnNkeyOverTLS(t *testing.T) {
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	config, ca := natstest.TLS(t)
	s := natstest.Start(t, plainServer+config+fmt.Sprintf("authorization {users: [{nkey: %s}]}\n", public))
	url := strings.Replace(s.URL(), "nats://", "tls://", 1)
	q := openOutsideAt(t, Outside{URL: url, KeyFile: file, CAFile: ca})
	mustDoAll(t, q, dialWorker(t, DialOptions{URL: url, KeyFile: file, CAFile: ca}))
}

func TestOutside_TakesCredentialsOfAnAccountWithLimits(t *testing.T) {
	o := natstest.NewOperator(t)
	a := o.Account("acme", natstest.Rented)
	creds := a.User("gateway")
	s := natstest.Start(t, plainServer+o.Config())
	q := openOutsideAt(t, Outside{URL: s.URL(), CredsFile: creds})
	mustDoAll(t, q, dialWorker(t, DialOptions{URL: s.URL(), CredsFile: creds}))
	info, err := q.js.AccountInfo(t.Context())
	if err != nil || info.ReservedStore > 2<<30 {
		t.Errorf("reserved %d, %v", info.ReservedStore, err)
	}
}

// hubAndLeaf starts a server with a JetStream domain, and one that reaches it as a leaf node. The leaf has a JetStream of its
// own when its configuration says so.
func hubAndLeaf(t testing.TB, leafConfig string) (hub, leaf *natstest.Server) {
	t.Helper()
	port := natstest.FreePort(t)
	hub = natstest.Start(t, fmt.Sprintf("server_name: hub\nmax_payload: 8MB\njetstream {domain: hub}\nleafnodes {listen: \"127.0.0.1:%d\"}\n", port))
	leaf = natstest.Start(t, fmt.Sprintf("server_name: leaf\nmax_payload: 8MB\nleafnodes {remotes: [{url: \"nats-leaf://127.0.0.1:%d\"}], reconnect: 1}\n%s", port, leafConfig))
	within(t, time.Minute, "the leaf node is connected", func() bool { return hub.NumLeafNodes() == 1 && leaf.NumLeafNodes() == 1 })
	return hub, leaf
}

func TestOutside_FindsADomainBehindALeafNode(t *testing.T) {
	hub, leaf := hubAndLeaf(t, "jetstream {domain: leaf}\n")
	q := openOutsideAt(t, Outside{URL: leaf.URL(), Domain: "hub"})
	mustDoAll(t, q, dialWorker(t, DialOptions{URL: leaf.URL(), Domain: "hub"}))
	if id, err := q.ID(t.Context()); err != nil || id == "" {
		t.Errorf("id %q, %v", id, err)
	}
	if n := leaf.GlobalAccount().JetStreamUsage().Streams; n != 0 {
		t.Errorf("the leaf has %d streams", n)
	}
	if n := hub.GlobalAccount().JetStreamUsage().Streams; n != len(streamConfigs(Options{})) {
		t.Errorf("the hub has %d streams", n)
	}
}

func TestOutside_KeepsThreeReplicasInACluster(t *testing.T) {
	all := natstest.StartCluster(t, plainServer)
	a := openOutsideAt(t, Outside{URL: all[0].URL(), Node: "a"})
	b := openOutsideAt(t, Outside{URL: all[1].URL(), Node: "b"})
	mustDoAll(t, a, dialWorker(t, DialOptions{URL: all[2].URL()}))
	mustBeWhole(t, b)
	for _, cfg := range streamConfigs(Options{}) {
		s, err := b.js.Stream(t.Context(), cfg.Name)
		if err != nil || s.CachedInfo().Config.Replicas != 3 {
			t.Errorf("%s: %+v, %v", cfg.Name, s, err)
		}
	}
	within(t, time.Minute, "one of them leads", func() bool { return a.Leads() != b.Leads() })
}

func TestOutside_AnotherGatewayFollowsTheLeader(t *testing.T) {
	s := natstest.Start(t, plainServer)
	one := Options{Dir: filepath.Join(t.TempDir(), "one"), Log: testLog(t), Outside: &Outside{URL: s.URL(), Node: "same"}}
	first, err := Open(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	within(t, time.Minute, "the first one leads", first.Leads)
	second := openOutsideAt(t, Outside{URL: s.URL(), Node: "same"}, "Hello")
	other := openOutsideAt(t, Outside{URL: s.URL(), Node: "other"})
	if second.Leads() || other.Leads() {
		t.Error("there are two leaders")
	}
	first.nc.Close() // as if it was killed
	within(t, time.Minute, "another one leads", func() bool { return second.Leads() != other.Leads() })
	within(t, time.Minute, "the first one knows that it does not", func() bool { return !first.Leads() })
	r := publish(t, other, "Hello")
	work(t, other, "Hello", 1, ok(`1`))
	awaitStands(t, second, r.ID, StateOK)
}

func TestOutside_GoesOnWhenTheServerIsBack(t *testing.T) {
	s := natstest.Start(t, plainServer)
	q := openOutsideAt(t, Outside{URL: s.URL()}, "Hello")
	before := publish(t, q, "Hello")
	s.Stop()
	within(t, time.Minute, "the connection is lost", func() bool { return !q.Connected() })
	s.Run()
	within(t, time.Minute, "the connection is back", q.Connected)
	var after Receipt
	within(t, time.Minute, "events are taken again", func() (ok bool) {
		var err error
		after, err = q.Publish(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(`1`)})
		return err == nil
	})
	work(t, q, "Hello", 1, ok(`1`))
	awaitStands(t, q, before.ID, StateOK)
	awaitStands(t, q, after.ID, StateOK)
}

func TestOutside_TakesLargeEventsWhereMessagesAreSmall(t *testing.T) {
	s := natstest.Start(t, "jetstream {}\n") // max_payload is 1 MiB
	q := openOutsideAt(t, Outside{URL: s.URL()}, "Hello")
	w := dialWorker(t, DialOptions{URL: s.URL()})
	work(t, w, "Hello", 1, func(e *Event) Result {
		return Result{Outcome: OutcomeOK, Reply: []byte(`"` + strings.Repeat("x", len(e.Body)-2) + `"`)}
	})
	for _, size := range []int{q.MaxMessage(), q.MaxMessage() + 1, MaxMessage + 1} {
		r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(strings.Repeat("1", size))})
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		awaitStands(t, q, r.ID, StateOK)
	}
	reply, err := q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(strings.Repeat("1", q.MaxMessage()))})
	if err != nil || len(reply) != q.MaxMessage() {
		t.Errorf("the largest call: %d bytes, %v", len(reply), err)
	}
	_, err = q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(strings.Repeat("1", q.MaxMessage()+1))})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(q.MaxMessage())) {
		t.Errorf("a larger one: %v", err)
	}
}

func TestOutside_RepliesThatAreTooLargeForTheServerAreFailures(t *testing.T) {
	s := natstest.Start(t, "jetstream {}\n")
	q := openOutsideAt(t, Outside{URL: s.URL()}, "Hello")
	work(t, dialWorker(t, DialOptions{URL: s.URL()}), "Hello", 1, ok(strings.Repeat("1", q.MaxMessage()+1)))
	within(t, time.Minute, "the worker is known", func() bool { return q.Present("Hello") })
	_, err := q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(`1`)})
	if c := (*CallError)(nil); !errors.As(err, &c) || c.Code != CodeReplyTooLarge {
		t.Errorf("got %v", err)
	}
}

func TestOutside_TheStreamsFollowTheOptions(t *testing.T) {
	s := natstest.Start(t, "server_name: s\nserver_tags: [\"ssd\"]\n"+plainServer)
	q := openOutsideAt(t, Outside{URL: s.URL(), Replicas: 1, PlacementTags: []string{"ssd"}})
	for _, cfg := range streamConfigs(Options{}) {
		stream, err := q.js.Stream(t.Context(), cfg.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().Config; got.Replicas != 1 || got.Placement == nil || !slices.Equal(got.Placement.Tags, []string{"ssd"}) || got.PersistMode != jetstream.DefaultPersistMode {
			t.Errorf("%s: %+v", cfg.Name, got)
		}
	}
}
