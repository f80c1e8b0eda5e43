package funker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// A function listens on ":9999"; the examples take any free port of this host.
func exampleListener() net.Listener {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return l
}

// A caller gives the time that it has, and asks of an error whether the request
// may go to another address.
func ExampleClient_Call() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l := exampleListener()
	go func() {
		_ = funker.Handle(ctx, l, func(_ context.Context, in []int) (int, error) { return in[0] + in[1], nil })
	}()

	var client funker.Client
	for range 2 {
		reply, err := client.Call(ctx, l.Addr().String(), []byte(`[1,2]`))
		if e, ok := errors.AsType[*funker.Error](err); ok {
			fmt.Println("failed in phase", e.Phase, "- started:", e.Started)
			continue
		}
		fmt.Println(string(reply))
	}
	// Output:
	// 3
	// failed in phase dial - started: no
}

// A one-shot function is a program that ends after its call.
func ExampleHandle() {
	type request struct{ Name string }
	type reply struct{ Hello string }
	l := exampleListener()
	done := make(chan error, 1)
	go func() {
		done <- funker.Handle(context.Background(), l, func(_ context.Context, in request) (reply, error) {
			return reply{Hello: in.Name}, nil
		})
	}()

	said, err := new(funker.Client).Call(context.Background(), l.Addr().String(), []byte(`{"name":"Ada"}`))
	fmt.Println(string(said), err, <-done)
	// Output: {"Hello":"Ada"} <nil> <nil>
}

// A server function runs until it is told to stop, in a program by
// signal.NotifyContext for SIGTERM, and finishes what it has begun.
func ExampleServe() {
	ctx, stop := context.WithCancel(context.Background())
	l := exampleListener()
	done := make(chan error, 1)
	go func() {
		done <- funker.Serve(ctx, l, func(_ context.Context, event json.RawMessage) (int, error) {
			return len(event), nil
		}, funker.Options{Concurrency: 4})
	}()

	for _, event := range []string{`{}`, `[1,2,3]`} {
		reply, err := new(funker.Client).Call(ctx, l.Addr().String(), []byte(event))
		fmt.Println(string(reply), err)
	}
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// 2 <nil>
	// 7 <nil>
	// stopped: <nil>
}

// A function says with a Failure whether a retry makes sense, and when.
func ExampleFailure() {
	l := exampleListener()
	done := make(chan error, 1)
	go func() {
		done <- funker.Handle(context.Background(), l, func(context.Context, any) (any, error) {
			return nil, &funker.Failure{Message: "rate limit reached", Retry: true, RetryAfter: time.Minute}
		})
	}()

	_, err := new(funker.Client).Call(context.Background(), l.Addr().String(), []byte(`{}`))
	if failure, ok := errors.AsType[*funker.Failure](err); ok {
		fmt.Println(failure, failure.Retry, failure.RetryAfter)
	}
	fmt.Println(<-done)
	// Output:
	// rate limit reached true 1m0s
	// <nil>
}
