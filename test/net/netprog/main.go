// Command netprog moves bytes over TCP, and says whether they arrived as they
// were sent.
//
//	netprog receive ADDRESS          take one connection, answer with its bytes' hash
//	netprog send ADDRESS BYTES       send so many bytes, compare the hash
//	netprog serve                    print "ready", live until standard input ends
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "netprog:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "receive":
		return receive(args[1])
	case len(args) == 3 && args[0] == "send":
		n, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return send(args[1], n)
	case len(args) == 1 && args[0] == "serve":
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	return fmt.Errorf("unknown arguments %q", args)
}

func receive(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, c); err != nil {
		return err
	}
	_, err = c.Write(sum.Sum(nil))
	return err
}

func send(address string, n int64) error {
	c, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	sum := sha256.New()
	source := io.LimitReader(rand.NewChaCha8([32]byte{1}), n)
	if _, err := io.CopyBuffer(io.MultiWriter(c, sum), source, make([]byte, 256<<10)); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	theirs, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if string(theirs) != string(sum.Sum(nil)) {
		return fmt.Errorf("%d bytes did not arrive as they were sent", n)
	}
	fmt.Println("intact")
	return nil
}
