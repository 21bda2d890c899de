package tcp

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// SYN cookies: the answer to a SYN for which there is no room carries all that is
// needed to make the connection when it comes back (RFC 4987, section 3.6). The
// sequence number holds a counter of minutes, the segment size and a keyed hash;
// the timestamp, if there is one, the options.
//
//	31       24 23                       3 2     0
//	|  minute  |  hash                    |  mss  |

// cookieSizes are the segment sizes that a cookie can tell.
var cookieSizes = [...]uint16{216, 536, 940, 1220, 1300, 1440, 1460, 8960}

// cookieMinutes is how old a cookie may be.
const cookieMinutes = 2

// Tuple is a connection's name for keyed hashes.
type Tuple struct{ Local, Remote netip.AddrPort }

// hash is a keyed hash of t, and of what else is given.
func (t Tuple) hash(secret *[32]byte, purpose byte, more uint64) uint64 {
	var b [32 + 1 + 8 + 36]byte
	copy(b[:], secret[:])
	b[32] = purpose
	binary.LittleEndian.PutUint64(b[33:], more)
	l, r := t.Local.Addr().As16(), t.Remote.Addr().As16()
	copy(b[41:], l[:])
	copy(b[57:], r[:])
	binary.LittleEndian.PutUint16(b[73:], t.Local.Port())
	binary.LittleEndian.PutUint16(b[75:], t.Remote.Port())
	sum := sha256.Sum256(b[:])
	return binary.LittleEndian.Uint64(sum[:])
}

// ISS is the first sequence number of a connection: RFC 6528. The clock ticks
// every 64 ns, as Linux's does.
func (t Tuple) ISS(secret *[32]byte, now Time) Seq {
	return Seq(t.hash(secret, 1, 0)) + Seq(now/64)
}

// PortHint is where the search for a port to the remote end begins: RFC 6056,
// section 3.3.3. Ports go up from there by a counter of the owner's.
func (t Tuple) PortHint(secret *[32]byte) uint32 { return uint32(t.hash(secret, 2, 0)) }

// TSOffset hides when the host was started from the timestamps of a connection, and what one
// connection's say of another's: RFC 7323, section 5.4.
func (t Tuple) TSOffset(secret *[32]byte) uint32 { return uint32(t.hash(secret, 5, 0)) }

// CookieAnswer makes the SYN+ACK for a SYN that nothing is kept of. cfg is what
// the connection would have.
func CookieAnswer(cfg Config, now Time, t Tuple, secret *[32]byte, syn *Segment) Segment {
	cfg = cfg.withDefaults()
	mss := max(syn.Options.MSS, 1)
	if syn.Options.MSS == 0 {
		mss = defaultMSS
	}
	index := 0
	for i, m := range cookieSizes {
		if m <= mss {
			index = i
		}
	}
	minute := uint64(now / (60 * Second))
	iss := cookie(t, secret, minute, index, syn.Seq)
	s := Segment{Seq: iss, Ack: syn.Seq + 1, Flags: 0x12}
	o := &s.Options
	o.WindowScale = -1
	o.MSS = uint16(min(cfg.MSS, 65535))
	if syn.Options.Timestamps && !cfg.NoTimestamps {
		// The low six bits of the timestamp come back and tell the rest.
		o.Timestamps, o.TSEcr = true, syn.Options.TSVal
		o.SACKPermitted = syn.Options.SACKPermitted && !cfg.NoSACK
		bits := uint32(15)
		if syn.Options.WindowScale >= 0 && !cfg.NoScaling {
			bits = uint32(syn.Options.WindowScale)
			o.WindowScale = int8(cfg.scale())
		}
		if o.SACKPermitted {
			bits |= 16
		}
		o.TSVal = cookieStamp(cfg, now)&^63 | bits
	}
	s.Window = uint16(min(cfg.opening(o.Timestamps), 65535))
	return s
}

func cookieStamp(cfg Config, now Time) uint32 { return uint32(now/Millisecond) + cfg.TSOffset - 64 }

func cookie(t Tuple, secret *[32]byte, minute uint64, index int, irs Seq) Seq {
	h := t.hash(secret, 3, minute<<35|uint64(index)<<32|uint64(irs))
	return Seq(minute&0xff)<<24 | Seq(h&0x1fffff)<<3 | Seq(index)
}

// AcceptCookie makes the connection whose CookieAnswer ack acknowledges; ok is
// false if it is none. ack goes to Receive then.
func AcceptCookie(cfg Config, now Time, t Tuple, secret *[32]byte, ack *Segment) (c *Conn, ok bool) {
	iss, irs := ack.Ack-1, ack.Seq-1
	minute := uint64(now / (60 * Second))
	age := (minute - uint64(iss>>24)) & 0xff
	if age > cookieMinutes || age > minute {
		return nil, false
	}
	index := int(iss & 7)
	if iss != cookie(t, secret, minute-age, index, irs) {
		return nil, false
	}
	cfg.ISS = iss
	syn := Segment{Seq: irs, Flags: 2, Window: ack.Window}
	o := &syn.Options
	o.MSS, o.WindowScale = cookieSizes[index], -1
	if ack.Options.Timestamps {
		bits := ack.Options.TSEcr & 63
		o.Timestamps, o.TSVal = true, ack.Options.TSVal
		o.SACKPermitted = bits&16 != 0
		if bits&15 < 15 {
			o.WindowScale = int8(bits & 15)
		}
	}
	c = Accept(cfg, now, &syn)
	c.synDue = false
	c.nxt = c.iss + 1
	c.synAt = now
	c.rcvAdv = c.rcvNxt + Seq(min(c.cfg.opening(c.tsOK), 65535))
	return c, true
}

// FastOpenCookie is what a host shows to open fast: RFC 7413, section 4.1.2.
func FastOpenCookie(secret *[32]byte, host netip.Addr) []byte {
	t := Tuple{netip.AddrPortFrom(host, 0), netip.AddrPortFrom(host, 0)}
	return binary.LittleEndian.AppendUint64(nil, t.hash(secret, 4, 0))
}
