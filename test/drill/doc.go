// Package drill runs scripts in packetdrill's language against a real TCP/IP
// stack: a small program, the agent, makes the script's system calls on this side
// of a TAP interface, and the script's packets are the other side. The agent runs
// on the host, or in a sandbox whose netd has the interface.
//
// A script is a list of events, each at a time:
//
//	+.1 < S 0:0(0) win 32792 <mss 1000,sackOK>     this packet comes in
//	 +0 > S. 0:0(0) ack 1 <...>                    this one must go out then
//	 +0 accept(3, ..., ...) = 4                    this call gives that
//	 +0...0.2 read(4, ..., 10) = 10                this one blocks until then
//	 +0 `sysctl -q net.ipv4.tcp_sack=0`            this command succeeds
//	 +0 %{ assert tcpi_snd_cwnd == 10 }%           this holds of TCP_INFO
//
// Times count from the event before, as it happened: a machine that was late once
// is not late for good. Sequence numbers are those of the script, which count from
// each side's SYN; values of timestamps stand for those seen first in their place.
//
// Of a large segment, which a stack hands to its device in one piece or in several,
// only the bytes, the order and the flags of its last piece are held against the script,
// and PSH, which stacks set by such pieces, nowhere.
package drill
