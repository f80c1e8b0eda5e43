// Command hostnameintent says on which container it runs: ask twice, and another one answers.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("tcp", ":9999")
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go answer(conn)
	}
}

// answer is one call: a request up to the end of the stream, a reply, and the end of the connection.
func answer(conn net.Conn) {
	defer conn.Close()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return // the caller has gone
	}
	json.NewEncoder(conn).Encode(hostname())
}

func hostname() any {
	name, err := os.Hostname()
	if err != nil {
		return map[string]any{"funkerError": map[string]any{"message": err.Error()}}
	}
	return map[string]any{
		"version": "1.0",
		"response": map[string]any{
			"outputSpeech":     map[string]any{"type": "PlainText", "text": "My host is called " + name},
			"shouldEndSession": true,
		},
	}
}
