package natstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Operator makes accounts and users by JWT, as nsc and Synadia's services do.
type Operator struct {
	t        testing.TB
	key      nkeys.KeyPair
	token    string
	system   string
	preloads []string
}

// NewOperator has a system account and nothing else.
func NewOperator(t testing.TB) *Operator {
	t.Helper()
	o := &Operator{t: t, key: must(nkeys.CreateOperator())}
	c := jwt.NewOperatorClaims(public(o.key))
	c.Name = "operator"
	o.system = o.Account("SYS", Plain).id
	c.SystemAccount = o.system
	o.token = must(c.Encode(o.key))
	return o
}

// Account is one of an operator.
type Account struct {
	o   *Operator
	key nkeys.KeyPair
	id  string
}

// Rented gives an account the limits that a service may sell, with one for each stream.
func Rented(c *jwt.AccountClaims) {
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 2 << 30, Streams: 10, Consumer: 20, MaxAckPending: 1000, MaxBytesRequired: true}
}

// Plain leaves an account without JetStream.
func Plain(*jwt.AccountClaims) {}

// Account makes one, with limits as set gives it.
func (o *Operator) Account(name string, set func(*jwt.AccountClaims)) *Account {
	o.t.Helper()
	a := &Account{o: o, key: must(nkeys.CreateAccount())}
	a.id = public(a.key)
	c := jwt.NewAccountClaims(a.id)
	c.Name = name
	set(c)
	o.preloads = append(o.preloads, fmt.Sprintf("%s: %s", a.id, must(c.Encode(o.key))))
	return a
}

// User makes one and returns the file with its credentials.
func (a *Account) User(name string) string {
	a.o.t.Helper()
	key := must(nkeys.CreateUser())
	c := jwt.NewUserClaims(public(key))
	c.Name = name
	creds := must(jwt.FormatUserConfig(must(c.Encode(a.key)), must(key.Seed())))
	file := filepath.Join(a.o.t.TempDir(), name+".creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		a.o.t.Fatal(err)
	}
	return file
}

// Config is the part of a server's configuration that knows the accounts made so far.
func (o *Operator) Config() string {
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s\n}\n", o.token, o.system, strings.Join(o.preloads, "\n"))
}

func public(key nkeys.KeyPair) string { return must(key.PublicKey()) }

// must is for keys and tokens in memory, which have no reason to fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
