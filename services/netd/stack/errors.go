package stack

import (
	"net/netip"

	"bulkhead/proto/linux"
)

// ErrorReport is an entry of a socket's error queue: struct sock_extended_err,
// ip(7) IP_RECVERR.
type ErrorReport struct {
	Errno      linux.Errno
	Local      bool // SO_EE_ORIGIN_LOCAL, else ICMP or ICMPv6
	Type, Code uint8
	MTU        int            // of EMSGSIZE, bytes
	Offender   netip.Addr     // who sent the message
	Dst        netip.AddrPort // where the packet was going
	Hops       uint8          // that the message could have gone on for
	Payload    []byte         // what it carried, as far as it is known; valid during the call
}

// ErrorOwner is an owner of datagram or raw sockets with an error queue.
type ErrorOwner interface {
	// Report is called instead of Failed where it exists.
	Report(r ErrorReport)
}

// report tells an owner of an error.
func report(o DatagramOwner, err linux.Errno, dst netip.AddrPort, f failure, payload []byte) {
	if q, ok := o.(ErrorOwner); ok {
		q.Report(ErrorReport{Errno: err, Local: f.local, Type: f.kind, Code: f.code, MTU: f.mtu, Offender: f.offender, Dst: dst, Hops: f.hops, Payload: payload})
		return
	}
	o.Failed(err)
}
