package tcp

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/wire"
)

var cookieTuple = Tuple{netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:4000")}

// What a SYN said is known again from what comes back, and from nothing else.
func TestCookie(t *testing.T) {
	secret := [32]byte{1, 2, 3}
	now := 1000 * Second
	cfg := Config{MSS: 1460, ReceiveBuffer: 1 << 20}
	for _, o := range []wire.TCPOptions{
		{MSS: 1460, WindowScale: 7, SACKPermitted: true, Timestamps: true, TSVal: 5},
		{MSS: 1000, WindowScale: -1, Timestamps: true, TSVal: 5},
		{WindowScale: 3, SACKPermitted: true},
	} {
		a := CookieAnswer(cfg, now, cookieTuple, &secret, &Segment{Seq: 77, Flags: wire.SYN, Window: 500, Options: o})
		ack := Segment{Seq: 78, Ack: a.Seq + 1, Flags: wire.ACK, Window: 9, Options: wire.TCPOptions{WindowScale: -1, Timestamps: a.Options.Timestamps, TSVal: 6, TSEcr: a.Options.TSVal}}
		for _, late := range []Time{0, 61 * Second, 100 * Second} {
			c, ok := AcceptCookie(cfg, now+late, cookieTuple, &secret, &ack)
			if !ok {
				t.Fatalf("%+v: not known after %v", o, late)
			}
			if c.tsOK != o.Timestamps || c.sackOK != (o.Timestamps && o.SACKPermitted) || c.mss > 1460 {
				t.Errorf("%+v: %v %v %d", o, c.tsOK, c.sackOK, c.mss)
			}
			s, r := &sendBuf{}, &recvBuf{limit: 1 << 20}
			c.Attach(s, r)
			c.Receive(now+late, &ack)
			if c.State() != Established {
				t.Errorf("%+v: %v", o, c.State())
			}
			if o.Timestamps && o.WindowScale >= 0 && c.wnd != 9<<o.WindowScale {
				t.Errorf("%+v: window %d", o, c.wnd)
			}
		}
		bad := ack
		bad.Ack++
		if _, ok := AcceptCookie(cfg, now, cookieTuple, &secret, &bad); ok {
			t.Error("forged")
		}
		if _, ok := AcceptCookie(cfg, now+300*Second, cookieTuple, &secret, &ack); ok {
			t.Error("stale")
		}
		secret2 := [32]byte{9}
		if _, ok := AcceptCookie(cfg, now, cookieTuple, &secret2, &ack); ok {
			t.Error("another's")
		}
	}
}
