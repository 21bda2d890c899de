package netlink

import (
	"syscall"
	"testing"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// ifinfo is a struct ifinfomsg with attributes.
func ifinfo(index uint32, attributes ...[]byte) []byte {
	b := make([]byte, sizeofIfinfomsg)
	le.PutUint32(b[4:], index)
	for _, a := range attributes {
		b = append(b, a...)
	}
	return b
}

func info(kind string, data []byte) []byte {
	return attribute(nil, linkInfo, append(attribute(nil, infoKind, text(kind)), attribute(nil, infoData, data)...))
}

// elsewhere is namespace 7 by descriptor 3, and nothing else.
func elsewhere(fd, pid int32) (uint32, error) {
	if fd == 3 {
		return 7, nil
	}
	return 0, linux.ESRCH
}

// orderOf is what a request comes to, with its error.
func orderOf(typ, flags uint16, body []byte) (*netdv1.Change, syscall.Errno) {
	s := &configured{fixed: fixed{{Index: 1, Name: "lo"}, {Index: 2, Name: "eth0"}}}
	out := answerIn(s, 5, elsewhere, 9, ask(typ, flags|flagAck, body), false)
	return s.last, syscall.Errno(-int32(le.Uint32(out[0][headerSize:])))
}

// A pair is made where each end is to be, here unless it says otherwise.
func TestNewPair(t *testing.T) {
	peer := attribute(nil, vethPeer, ifinfo(0, attribute(nil, linkName, text("b")), attribute(nil, linkNetFD, le.AppendUint32(nil, 3))))
	c, err := orderOf(newLink, flagCreate|flagExclusive, ifinfo(0, attribute(nil, linkName, text("a")), attribute(nil, linkMTU, le.AppendUint32(nil, 9000)), info("veth", peer)))
	m := c.GetNewLink()
	if err != 0 || m.GetKind() != "veth" || m.Link.Name != "a" || m.Link.Mtu != 9000 || m.Link.Space != 5 || m.Peer.Name != "b" || m.Peer.Space != 7 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestLinkOrders(t *testing.T) {
	for name, c := range map[string]struct {
		typ, flags uint16
		body       []byte
		err        syscall.Errno
	}{
		"no kind":             {newLink, flagCreate, ifinfo(0, attribute(nil, linkName, text("a"))), syscall.EOPNOTSUPP},
		"not to be made":      {newLink, 0, ifinfo(0, attribute(nil, linkName, text("a")), info("dummy", nil)), syscall.ENODEV},
		"it is there":         {newLink, flagCreate | flagExclusive, ifinfo(0, attribute(nil, linkName, text("eth0")), info("dummy", nil)), syscall.EEXIST},
		"a short address":     {newLink, flagCreate, ifinfo(0, attribute(nil, linkAddress, []byte{2, 0}), info("dummy", nil)), syscall.EINVAL},
		"half a peer":         {newLink, flagCreate, ifinfo(0, info("veth", attribute(nil, vethPeer, []byte{1, 2}))), syscall.EINVAL},
		"no such process":     {setLink, 0, ifinfo(2, attribute(nil, linkNetPID, le.AppendUint32(nil, 4))), syscall.ESRCH},
		"a wrong descriptor":  {setLink, 0, ifinfo(2, attribute(nil, linkNetFD, le.AppendUint32(nil, 1<<32-1))), syscall.EBADF},
		"a slave of what":     {setLink, 0, ifinfo(2, nested(linkInfo, attribute(nil, infoSlaveKind, text("bond")), attribute(nil, infoSlaveData, u32(1, 1)))), syscall.EINVAL},
		"a vlan upon nothing": {newLink, flagCreate, ifinfo(0, info("vlan", attribute(nil, vlanID, []byte{5, 0}))), syscall.EINVAL},
		"no such link":        {delLink, 0, ifinfo(9), syscall.ENODEV},
		"short":               {setLink, 0, []byte{1}, syscall.EINVAL},
	} {
		if m, err := orderOf(c.typ, c.flags, c.body); err != c.err || m != nil {
			t.Errorf("%s: %v, %v; want %v", name, m, err, c.err)
		}
	}
	c, err := orderOf(setLink, 0, ifinfo(2, attribute(nil, linkName, text("x")), attribute(nil, linkNetFD, le.AppendUint32(nil, 3)), attribute(nil, linkAddress, []byte{2, 0, 0, 0, 0, 1})))
	if m := c.GetLink(); err != 0 || m.GetName() != "x" || m.GetSpace() != 7 || m.Space == nil || len(m.Mac) != 6 || m.Up != nil || m.Mtu != nil {
		t.Errorf("%v, %v", c, err)
	}
	if c, err := orderOf(delLink, 0, ifinfo(0, attribute(nil, linkName, text("eth0")))); err != 0 || c.GetRemoveLink().GetIndex() != 2 {
		t.Errorf("%v, %v", c, err)
	}
}

// FuzzLink has arbitrary bytes be orders about links and rules.
func FuzzLink(f *testing.F) {
	peer := attribute(nil, vethPeer, ifinfo(0, attribute(nil, linkName, text("b"))))
	f.Add(ask(newLink, flagCreate, ifinfo(0, info("veth", peer))))
	f.Add(ask(newRule, flagCreate, attribute([]byte{2, 0, 0, 0, 254, 0, 0, 1, 2, 0, 0, 0}, ruleMark, []byte{1, 0, 0, 0})))
	f.Add(ask(delLink, 0, ifinfo(2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &configured{fixed: fixed{{Index: 1, Name: "lo"}, {Index: 2, Name: "eth0", Kind: "tap", Peer: 3, PeerNamespace: 1}}}
		for _, a := range answerIn(s, 5, elsewhere, 1, b, false) {
			if _, err := syscall.ParseNetlinkMessage(a); err != nil {
				t.Fatal(err)
			}
		}
	})
}
