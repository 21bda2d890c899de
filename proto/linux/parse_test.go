package linux

import (
	"bytes"
	"net/netip"
	"testing"
)

// FuzzCmsg says that any bytes are taken apart within their bounds, and that
// what is put together comes apart again.
func FuzzCmsg(f *testing.F) {
	f.Add(AppendCmsg(AppendCmsg(nil, 1, 2, []byte("abc")), 3, 4, nil))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff________"))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for rest := b; len(rest) >= SizeofCmsghdr; {
			m, next, err := NextCmsg(rest)
			if err != nil {
				break
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			again, _, err := NextCmsg(AppendCmsg(nil, m.Level, m.Type, m.Data))
			if err != nil || again.Level != m.Level || again.Type != m.Type || !bytes.Equal(again.Data, m.Data) {
				t.Fatalf("%+v came apart as %+v, %v", m, again, err)
			}
			total += len(m.Data)
			rest = next
		}
		if total > len(b) {
			t.Fatal("more data than bytes")
		}
	})
}

// FuzzSockaddr likewise for addresses.
func FuzzSockaddr(f *testing.F) {
	f.Add(AppendSockaddrInet4(nil, netip.MustParseAddrPort("127.0.0.1:80")))
	f.Add(AppendSockaddrInet6(nil, netip.MustParseAddrPort("[fe80::1]:80"), 3))
	f.Add(AppendSockaddrUnix(nil, "/run/sock"))
	f.Add(AppendSockaddrUnix(nil, "\x00abstract"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ap, zone, err := ParseSockaddrInet(b); err == nil {
			out := AppendSockaddrInet4(nil, ap)
			if SockaddrFamily(b) == AF_INET6 {
				out = AppendSockaddrInet6(nil, ap, zone)
			}
			if again, z, err := ParseSockaddrInet(out); err != nil || again != ap || z != zone {
				t.Fatalf("%v came back as %v, %v", ap, again, err)
			}
		}
		if name, err := ParseSockaddrUnix(b); err == nil {
			if len(name) > len(b) {
				t.Fatal("more name than bytes")
			}
			if again, err := ParseSockaddrUnix(AppendSockaddrUnix(nil, name)); len(name) < 108 && (err != nil || again != name) {
				t.Fatalf("%q came back as %q, %v", name, again, err)
			}
		}
	})
}
