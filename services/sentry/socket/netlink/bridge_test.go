package netlink

import (
	"testing"

	"google.golang.org/protobuf/proto"

	netdv1 "bulkhead/proto/netd/v1"
)

// world is a source that says whatever netd may, and obeys.
type world struct {
	fixed
	known  *netdv1.Response
	change *netdv1.Change
}

func (w *world) Routes() (*netdv1.Response, error)                  { return w.known, nil }
func (w *world) Stations() (*netdv1.Response, error)                { return w.known, nil }
func (w *world) Path(*netdv1.PathQuery) (*netdv1.RouteEntry, error) { return w.known.Path, nil }
func (w *world) Change(c *netdv1.Change) error                      { w.change = c; return nil }

// nested is an attribute of attributes.
func nested(typ uint16, all ...[]byte) []byte {
	var b []byte
	for _, a := range all {
		b = append(b, a...)
	}
	return attribute(nil, typ, b)
}

func join(all ...[]byte) (b []byte) {
	for _, a := range all {
		b = append(b, a...)
	}
	return b
}

func u32(typ uint16, n uint32) []byte { return attribute(nil, typ, le.AppendUint32(nil, n)) }

// What ip(8) and bridge(8) order arrives.
func TestOrders(t *testing.T) {
	w := &world{fixed: one, known: &netdv1.Response{}}
	order := func(typ, flags uint16, body []byte) *netdv1.Change {
		t.Helper()
		w.change = nil
		out := answer(w, 9, ask(typ, flags|flagAck, body), false)
		if len(out) != 1 || le.Uint32(out[0][16:]) != 0 {
			t.Fatalf("type %d: %x", typ, out)
		}
		return w.change
	}
	route := []byte{2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0}
	hop := func(weight byte, gateway ...byte) []byte {
		via := attribute(nil, routeGateway, gateway)
		return append(append(le.AppendUint16(nil, uint16(8+len(via))), 0, weight-1), append(le.AppendUint32(nil, 3), via...)...)
	}
	r := order(newRoute, flagCreate, join(route, attribute(nil, 1, []byte{10, 1, 2, 0}), nested(routeMultipath, hop(1, 10, 0, 0, 1), hop(5, 10, 0, 0, 2)),
		nested(routeMetrics, u32(metricMTU, 1400), u32(11, 20), attribute(nil, metricCongestion, text("reno"))))).GetRoute().Route
	if len(r.Hops) != 2 || r.Hops[1].Weight != 5 || r.Hops[1].Interface != 3 || r.Mtu != 1400 || r.Metrics[11] != 20 || r.Congestion != "reno" {
		t.Error(r)
	}
	n := order(newNexthop, flagCreate, join([]byte{2, 0, 3, 0, 0, 0, 0, 0}, u32(nexthopID, 7), attribute(nil, nexthopGroup, []byte{1, 0, 0, 0, 4, 0, 0, 0}))).GetNexthop().Nexthop
	if n.Id != 7 || len(n.Members) != 1 || n.Members[0].Weight != 5 {
		t.Error(n)
	}
	rule := order(newRule, flagCreate, join([]byte{2, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0}, attribute(nil, ruleIPProtocol, []byte{6}), attribute(nil, ruleDestination, []byte{80, 0, 90, 0}))).GetRule().Rule
	if rule.IpProtocol != 6 || rule.DestinationPorts.First != 80 || rule.DestinationPorts.Last != 90 || rule.Table != 100 {
		t.Error(rule)
	}
	port := order(setLink, 0, join([]byte{familyBridge, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nested(linkProtInfo|1<<15, attribute(nil, 4, []byte{1})))).GetLink()
	if port.Index != 1 || port.Port[4] != 1 {
		t.Error(port)
	}
	st := order(newNeigh, flagCreate, join([]byte{familyBridge, 0, 0, 0, 5, 0, 0, 0, nudFixed, 0, toMaster, 0}, attribute(nil, neighAddress, []byte{2, 0, 0, 0, 0, 9}))).GetStation().Station
	if st.Interface != 5 || !st.Fixed || st.Local || len(st.Mac) != 6 {
		t.Error(st)
	}
}

// FuzzChange sends any order or question to a network of which anything may be said.
func FuzzChange(f *testing.F) {
	known, _ := proto.Marshal(&netdv1.Response{Routes: []*netdv1.RouteEntry{{Destination: &netdv1.Prefix{Address: []byte{10, 0, 0, 0}, Bits: 8},
		Hops: []*netdv1.Hop{{Gateway: []byte{10, 0, 0, 1}, Weight: 3}}, Metrics: []uint32{0, 1, 2}}}, Stations: []*netdv1.Station{{Bridge: 2, Interface: 1, Mac: make([]byte, 6)}},
		Nexthops: []*netdv1.NexthopEntry{{Id: 1, Members: []*netdv1.NexthopMember{{Id: 2, Weight: 1}}}}, Path: &netdv1.RouteEntry{Kind: 1},
		Rules: []*netdv1.RuleEntry{{Priority: 5, Users: &netdv1.Range{Last: 7}}}, Interfaces: []*netdv1.Interface{{Index: 2, Kind: "bridge", Master: 1, Port: map[uint32]uint32{1: 3}}}})
	for _, typ := range []uint16{newRoute, getRoute, newNexthop, getNexthop, newRule, getRule, newNeigh, getNeigh, newLink, setLink, getLink} {
		f.Add(typ, uint16(flagDump), append([]byte{familyBridge}, make([]byte, 40)...), known)
		f.Add(typ, uint16(flagCreate), join([]byte{2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0}, attribute(nil, 1, []byte{10, 1, 2, 0}), nested(routeMultipath, make([]byte, 16))), known)
	}
	f.Fuzz(func(t *testing.T, typ, flags uint16, body, known []byte) {
		var r netdv1.Response
		if proto.Unmarshal(known, &r) != nil {
			return
		}
		w := &world{fixed: append(fixed{one[0]}, r.Interfaces...), known: &r}
		for _, b := range answer(w, 9, ask(typ, flags, body), false) {
			if len(b) < headerSize {
				t.Fatal("an answer without a header")
			}
		}
	})
}
