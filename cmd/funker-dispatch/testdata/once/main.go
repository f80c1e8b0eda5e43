// Once is a one-shot function that answers when it listened and when it was called, in nanoseconds.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

func main() {
	l, err := net.Listen("tcp", ":9999")
	if err != nil {
		log.Fatal(err)
	}
	listening := time.Now()
	err = funker.Handle(context.Background(), l, func(context.Context, json.RawMessage) (map[string]int64, error) {
		return map[string]int64{"listening": listening.UnixNano(), "called": time.Now().UnixNano()}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
