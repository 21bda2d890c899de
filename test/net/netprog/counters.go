package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// echo answers TCP connections and UDP datagrams with what they say.
func echo(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			p.WriteTo(b[:n], from)
		}
	}()
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// readCounters reads /proc/net/snmp, netstat and snmp6, by nstat(8)'s names.
func readCounters() (map[string]int64, error) {
	all := map[string]int64{}
	for _, name := range []string{"snmp", "netstat"} {
		text, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			return nil, err
		}
		list := strings.Split(strings.TrimSpace(string(text)), "\n")
		for i := 0; i+1 < len(list); i += 2 {
			names, values := strings.Fields(list[i]), strings.Fields(list[i+1])
			if len(names) != len(values) || names[0] != values[0] {
				return nil, fmt.Errorf("%s: %d names of %d values", names[0], len(names), len(values))
			}
			for k, n := range names[1:] {
				v, err := strconv.ParseInt(values[k+1], 10, 64)
				if err != nil {
					return nil, err
				}
				all[strings.TrimSuffix(names[0], ":")+n] = v
			}
		}
	}
	text, err := os.ReadFile("/proc/net/snmp6")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return nil, fmt.Errorf("snmp6: %q", line)
		}
		all[f[0]], _ = strconv.ParseInt(f[1], 10, 64)
	}
	return all, nil
}

// exact are the counters that a step changes by the same everywhere.
var exact = []string{
	"TcpActiveOpens", "TcpPassiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpCurrEstab", "TcpRetransSegs", "TcpInErrs", "TcpOutRsts",
	"UdpInDatagrams", "UdpOutDatagrams", "UdpNoPorts", "UdpInErrors", "UdpRcvbufErrors", "Udp6InDatagrams", "Udp6OutDatagrams",
	"IcmpInMsgs", "IcmpOutMsgs", "IcmpInDestUnreachs", "IcmpMsgInType3", "IpReasmReqds", "IpReasmOKs", "IpFragOKs", "IpFragCreates",
	"IpOutNoRoutes", "IpExtOutMcastPkts", "TcpExtTW", "TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnData", "TcpExtTCPTimeouts",
	"TcpExtListenOverflows", "TcpExtTCPKeepAlive",
}

// moving are those of which only the direction is compared.
var moving = []string{"TcpInSegs", "TcpOutSegs", "IpInReceives", "IpInDelivers", "IpOutRequests", "IpExtInOctets", "IpExtOutOctets", "IpExtInNoECTPkts"}

// counters prints what each of several deeds adds to the counters.
func counters(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	closed := net.JoinHostPort(host, "9")
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"nothing", func() error { return nil }},
		{"connect", func() error { return exchange(address, 3000, false) }},
		{"refused", func() error { net.Dial("tcp", closed); return nil }},
		{"reset", func() error { return exchange(address, 1000, true) }},
		{"within", connectWithin},
		{"datagrams", func() error { return datagrams(address, 3, 100) }},
		{"fragments", func() error { return datagrams(address, 1, 4000) }},
		{"unwanted", func() error { return datagrams(closed, 1, 10) }},
		{"datagrams within", func() error { return datagramsWithin("127.0.0.1:0", 5) }},
		{"datagrams within, IPv6", func() error { return datagramsWithin("[::1]:0", 4) }},
		{"no route", func() error { net.Dial("tcp", "203.0.113.1:80"); return nil }},
		{"group", func() error { return datagrams("239.1.2.3:"+port, 2, 10) }},
	} {
		time.Sleep(100 * time.Millisecond) // what is still under way
		before, err := readCounters()
		if err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		time.Sleep(100 * time.Millisecond)
		after, err := readCounters()
		if err != nil {
			return err
		}
		fmt.Print(step.name, ":")
		for _, name := range exact {
			if d := after[name] - before[name]; d != 0 {
				fmt.Printf(" %s=%d", name, d)
			}
		}
		if !strings.Contains(step.name, "within") { // nothing is sent of that in a sandbox
			for _, name := range moving {
				if after[name] > before[name] {
					fmt.Print(" ", name)
				}
			}
		}
		fmt.Println()
	}
	return nil
}

// exchange has n bytes echoed and closes; with abort it leaves them unread.
func exchange(address string, n int, abort bool) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	if abort {
		time.Sleep(100 * time.Millisecond)
		return nil
	}
	_, err = io.ReadFull(c, make([]byte, n))
	return err
}

// connectWithin makes a connection between two sockets of its own, that stands when it
// returns.
func connectWithin() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	b, err := l.Accept()
	kept = append(kept, a, b, l)
	return err
}

var kept []io.Closer

// datagrams sends some and waits a moment for answers.
func datagrams(address string, n, size int) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	for range n {
		if _, err := c.Write(make([]byte, size)); err != nil {
			return err
		}
	}
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for b := make([]byte, 65536); err == nil; {
		_, err = c.Read(b)
	}
	return nil
}

// datagramsWithin sends some to itself.
func datagramsWithin(address string, n int) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	for range n {
		if _, err := c.WriteTo([]byte("datagram"), c.LocalAddr()); err != nil {
			return err
		}
		if _, _, err := c.ReadFrom(make([]byte, 100)); err != nil && err != syscall.EINTR {
			return err
		}
	}
	return nil
}
