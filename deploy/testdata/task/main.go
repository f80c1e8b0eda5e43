// The program task is a function for tests on a real swarm: it answers with what it was asked. When ONE_SHOT is set it
// ends after one connection, and when EXIT is set it ends at once, with that code. When REGISTRY is set to an address, it is
// a registry instead. What SAY is set to it says at its start, to both its outputs.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	if code, err := strconv.Atoi(os.Getenv("EXIT")); err == nil {
		os.Exit(code)
	}
	if address := os.Getenv("REGISTRY"); address != "" {
		log.Fatal(registry(address, os.Getenv("NOTE")))
	}
	if say := os.Getenv("SAY"); say != "" {
		fmt.Println("out: " + say)
		fmt.Fprintln(os.Stderr, "err: "+say)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM) // the first process of a container ignores it otherwise
	l, err := net.Listen("tcp", ":9999")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		<-stop
		os.Exit(0)
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if os.Getenv("ONE_SHOT") != "" {
			l.Close()
			echo(conn)
			return
		}
		go echo(conn)
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	request, err := io.ReadAll(conn)
	if err != nil {
		return
	}
	conn.Write(request)
}
