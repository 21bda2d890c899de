package drill

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// connection is the one that a script is about at the moment: how its numbers go
// over into those of the wire. Segments with SYN have each side's numbers as they are,
// the local side's moved by what it chose; all others count from the SYNs.
type connection struct {
	ports
	known  bool   // live is the number of the local side's SYN
	live   uint32 // which the script calls
	said   uint32
	theirs uint32 // the number of the remote side's SYN

	stamps map[uint32]uint32 // timestamps that the local side sent, by the script's
}

func newConnection(p ports) *connection { return &connection{ports: p, stamps: map[uint32]uint32{}} }

// ephemeral is a port of the remote side.
func ephemeral() uint16 { return uint16(32768 + rand.IntN(28000)) }

// toWire is a segment of the script with the wire's numbers, for who receives it.
func (c *connection) toWire(k *packet) *packet {
	w := *k
	shift := c.live
	if strings.Contains(k.flags, "S") {
		c.theirs, shift = k.seq, c.live-c.said
	} else {
		w.seq += c.theirs
	}
	if strings.Contains(k.flags, ".") {
		w.ack += shift
	}
	w.options = nil
	for _, o := range k.options {
		switch o.name {
		case "TS":
			if live, ok := c.stamps[o.echo]; ok {
				o.echo = live
			}
		case "sack":
			blocks := o.blocks
			o.blocks = nil
			for _, b := range blocks {
				o.blocks = append(o.blocks, [2]uint32{b[0] + shift, b[1] + shift})
			}
		}
		w.options = append(w.options, o)
	}
	return &w
}

// fromWire gives a sent segment the script's numbers. want is what the script expects.
func (c *connection) fromWire(k, want *packet) {
	if strings.Contains(k.flags, "S") && !c.known {
		c.known, c.live, c.said = true, k.seq, want.seq
	}
	if strings.Contains(k.flags, "S") {
		k.seq += c.said - c.live
	} else {
		k.seq -= c.live
		if strings.Contains(k.flags, ".") {
			k.ack -= c.theirs
		}
		for _, o := range k.options {
			for i := range o.blocks {
				o.blocks[i][0] -= c.theirs
				o.blocks[i][1] -= c.theirs
			}
		}
	}
	k.end = k.seq + uint32(k.length)
}

// again gives a piece of a segment, which is read once more, the wire's numbers back.
func (c *connection) again(k *packet) {
	k.seq += c.live
	k.ack += c.theirs
	if strings.Contains(k.flags, "S") {
		k.seq, k.ack = k.seq-c.said, k.ack-c.theirs
	}
}

// hold compares a sent segment with the script's, and learns its timestamp.
func (c *connection) hold(k, want *packet) error {
	flags := func(f string) string { return strings.ReplaceAll(order(f), "P", "") }
	if flags(k.flags) != flags(want.flags) || k.seq != want.seq || k.length != want.length {
		return fmt.Errorf("sent %s", k)
	}
	if strings.Contains(want.flags, ".") && k.ack != want.ack {
		return fmt.Errorf("sent %s: the acknowledgement", k)
	}
	if want.window >= 0 && k.window != want.window {
		return fmt.Errorf("sent %s: the window", k)
	}
	if want.ecn != "" && k.ecn != want.ecn {
		return fmt.Errorf("sent %s: ECN in IP", k)
	}
	if strings.Contains(want.flags, "U") && k.urgent != want.urgent {
		return fmt.Errorf("sent %s: the urgent pointer %d", k, k.urgent)
	}
	if want.unchecked {
		return nil
	}
	for i, o := range k.options {
		if i < len(want.options) && o.name == "TS" && want.options[i].name == "TS" {
			c.stamps[want.options[i].value] = o.value
			k.options[i].value = want.options[i].value
		}
	}
	if got := optionsString(k.options); got != optionsString(want.options) {
		return fmt.Errorf("sent %s: the options", k)
	}
	return nil
}

// order puts flags into the order in which readSegment writes them.
func order(flags string) string {
	s := ""
	for _, f := range "SFRP.UEW" {
		if strings.ContainsRune(flags, f) {
			s += string(f)
		}
	}
	return s
}
