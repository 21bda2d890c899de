// Command netprog moves bytes over TCP, and says whether they arrived as they
// were sent.
//
//	netprog receive ADDRESS          take one connection, answer with its bytes' hash
//	netprog send ADDRESS BYTES       send so many bytes, compare the hash
//	netprog serve                    print "ready", live until standard input ends
//	netprog names ADDRESS NAME=IP..  a DNS server that knows these names
//	netprog lookup RESOLVER NAME     ask it, print the addresses
//	netprog dial ADDRESS             print "connected", or the error and how it came
//	netprog counters ADDRESS         what an address's echo server and closed ports do to
//	                                 the counters of /proc/net
//	netprog crash SINK ECHO          how those who wait are told that netd is gone, and what
//	                                 works again; "" for either: on the loopback only
//	netprog crash-spaces             the same in two namespaces of the network that it makes
//	netprog sink ADDRESS             takes connections and reads nothing
//	netprog echo ADDRESS             a TCP and UDP server of one port, that answers alike
//	netprog advertise NAME PREFIX SECONDS
//	                                 a router at an interface: it answers solicitations
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
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
	case len(args) > 2 && args[0] == "names":
		return names(args[1], args[2:])
	case len(args) == 3 && args[0] == "lookup":
		return lookup(args[1], args[2])
	case len(args) == 2 && args[0] == "dial":
		return dial(args[1])
	case len(args) == 2 && args[0] == "counters":
		return counters(args[1])
	case len(args) == 3 && args[0] == "crash":
		return crash(args[1], args[2])
	case len(args) == 1 && args[0] == "crash-spaces":
		return crashSpaces()
	case len(args) == 2 && args[0] == "space":
		return space(args[1])
	case len(args) == 2 && args[0] == "sink":
		return sink(args[1])
	case len(args) == 2 && args[0] == "echo":
		return echo(args[1])
	case len(args) == 4 && args[0] == "advertise":
		prefix, err := netip.ParsePrefix(args[2])
		if err != nil {
			return err
		}
		valid, err := strconv.ParseUint(args[3], 10, 32)
		if err != nil {
			return err
		}
		return advertise(args[1], prefix, uint32(valid))
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

// names answers questions for the addresses of what it was told, by way of another
// name, and says NXDOMAIN of everything else.
func names(address string, known []string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		var q dnsmessage.Message
		if q.Unpack(b[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		name := q.Questions[0].Name
		fmt.Println("asked for", name)
		a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError}, Questions: q.Questions}
		for _, k := range known {
			host, ip, _ := strings.Cut(k, "=")
			if host+"." != name.String() {
				continue
			}
			a.RCode = dnsmessage.RCodeSuccess
			if q.Questions[0].Type == dnsmessage.TypeA {
				alias := dnsmessage.MustNewName("alias." + name.String())
				a.Answers = []dnsmessage.Resource{
					{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 5}, Body: &dnsmessage.CNAMEResource{CNAME: alias}},
					{Header: dnsmessage.ResourceHeader{Name: alias, Class: dnsmessage.ClassINET, TTL: 5}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()}},
				}
			}
		}
		out, err := a.Pack()
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(out, from); err != nil {
			return err
		}
	}
}

func lookup(resolver, name string) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", resolver)
	}}
	list, err := r.LookupHost(context.Background(), name+".")
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(list, " "))
	return nil
}

func dial(address string) error {
	begun := time.Now()
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err == nil {
		fmt.Println("connected")
		return c.Close()
	}
	if time.Since(begun) < 4*time.Second {
		return fmt.Errorf("at once: %w", err)
	}
	return err
}
