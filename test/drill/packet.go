package drill

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// packet is a packet as a script writes it, or one that was sent, in its terms.
type packet struct {
	icmp      string // an ICMP error's type; what follows is the segment that it quotes
	code      string
	mtu       int64
	ecn       string // "", "noecn", "ect0", "ect1", "ce"
	flags     string // of S F R P . U E W
	seq, end  uint32
	length    int
	ack       uint32
	window    int // -1: as it may be
	urgent    int
	options   []option
	unchecked bool // whatever its options are
}

// option is one of a segment.
type option struct {
	name   string
	value  uint32 // of mss, wscale, TS
	echo   uint32 // of TS
	blocks [][2]uint32
	bytes  []byte
}

func (o option) String() string {
	switch o.name {
	case "mss", "wscale":
		return fmt.Sprintf("%s %d", o.name, o.value)
	case "TS":
		return fmt.Sprintf("TS val %d ecr %d", o.value, o.echo)
	case "sack":
		s := o.name
		for _, b := range o.blocks {
			s += fmt.Sprintf(" %d:%d", b[0], b[1])
		}
		return s
	}
	if len(o.bytes) > 0 {
		return o.name + " " + hex.EncodeToString(o.bytes)
	}
	return o.name
}

func optionsString(options []option) string {
	var words []string
	for _, o := range options {
		words = append(words, o.String())
	}
	return "<" + strings.Join(words, ",") + ">"
}

func (k *packet) String() string {
	s := fmt.Sprintf("%s %d:%d(%d)", k.flags, k.seq, k.end, k.length)
	if strings.Contains(k.flags, ".") {
		s += fmt.Sprintf(" ack %d", k.ack)
	}
	if k.window >= 0 {
		s += fmt.Sprintf(" win %d", k.window)
	}
	if k.ecn != "" {
		s = "[" + k.ecn + "] " + s
	}
	if k.icmp != "" {
		return "icmp " + k.icmp + " " + k.code
	}
	return s + " " + optionsString(k.options)
}

// packet reads what stands behind < or >.
func (p *parser) packet() (*packet, error) {
	k := &packet{window: -1}
	if p.tok.text == "icmp" {
		return k, p.icmp(k)
	}
	if ok, err := p.take("["); err != nil {
		return k, err
	} else if ok {
		k.ecn = p.tok.text
		if err := p.advance(); err != nil {
			return k, err
		}
		if err := p.expect("]"); err != nil {
			return k, err
		}
	}
	for p.tok.kind == tokName || p.is(".") || p.is("-") {
		if strings.Trim(p.tok.text, "SFRPUEW.-") != "" {
			return k, fmt.Errorf("flags %s", p.tok)
		}
		k.flags += p.tok.text
		if err := p.advance(); err != nil {
			return k, err
		}
	}
	if err := p.extent(k); err != nil {
		return k, err
	}
	for p.tok.kind == tokName {
		word := p.tok.text
		if err := p.advance(); err != nil {
			return k, err
		}
		n, err := p.number()
		if err != nil {
			return k, err
		}
		switch word {
		case "ack":
			k.ack = uint32(n)
		case "win":
			k.window = int(n)
		case "urg":
			k.urgent = int(n)
		default:
			return k, fmt.Errorf("%s of a segment", word)
		}
	}
	if !p.is("<") { // events begin with their times, so this one is of options
		return k, nil
	}
	return k, p.options(k)
}

// extent reads SEQ:END(LENGTH).
func (p *parser) extent(k *packet) error {
	seq, err := p.number()
	if err != nil {
		return err
	}
	if err := p.expect(":"); err != nil {
		return err
	}
	end, err := p.number()
	if err != nil {
		return err
	}
	if err := p.expect("("); err != nil {
		return err
	}
	n, err := p.number()
	if err != nil {
		return err
	}
	if n < 0 || n > 65000 {
		return fmt.Errorf("a segment of %d bytes", n)
	}
	k.seq, k.end, k.length = uint32(seq), uint32(end), int(n)
	return p.expect(")")
}

// icmp reads "icmp unreachable frag_needed mtu 1200 [1:1001(1000)]".
func (p *parser) icmp(k *packet) error {
	if err := p.advance(); err != nil {
		return err
	}
	k.icmp, k.flags = p.tok.text, "."
	if err := p.advance(); err != nil {
		return err
	}
	for p.tok.kind == tokName {
		word := p.tok.text
		if err := p.advance(); err != nil {
			return err
		}
		if word != "mtu" {
			k.code = word
			continue
		}
		var err error
		if k.mtu, err = p.number(); err != nil {
			return err
		}
	}
	if err := p.expect("["); err != nil {
		return err
	}
	if p.tok.kind == tokName {
		k.flags = p.tok.text
		if err := p.advance(); err != nil {
			return err
		}
	}
	if err := p.extent(k); err != nil {
		return err
	}
	return p.expect("]")
}

func (p *parser) options(k *packet) error {
	if err := p.expect("<"); err != nil {
		return err
	}
	if ok, err := p.take("..."); err != nil || ok {
		k.unchecked = true
		if err == nil {
			err = p.expect(">")
		}
		return err
	}
	for !p.is(">") {
		o, err := p.tcpOption()
		if err != nil {
			return err
		}
		k.options = append(k.options, o)
		if ok, err := p.take(","); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	return p.expect(">")
}

// labelled reads a word and the number behind it.
func (p *parser) labelled(word string) (uint32, error) {
	if p.tok.text != word {
		return 0, fmt.Errorf("%s where %q belongs", p.tok, word)
	}
	if err := p.advance(); err != nil {
		return 0, err
	}
	n, err := p.number()
	return uint32(n), err
}

func (p *parser) tcpOption() (option, error) {
	o := option{name: p.tok.text}
	if err := p.advance(); err != nil {
		return o, err
	}
	var err error
	switch o.name {
	case "nop", "eol", "sackOK":
	case "mss", "wscale":
		var n int64
		n, err = p.number()
		o.value = uint32(n)
	case "TS":
		if o.value, err = p.labelled("val"); err == nil {
			o.echo, err = p.labelled("ecr")
		}
	case "sack":
		for err == nil && p.tok.kind == tokNumber && len(o.blocks) < 4 {
			var from, to int64
			if from, err = p.number(); err != nil {
				break
			}
			if err = p.expect(":"); err != nil {
				break
			}
			to, err = p.number()
			o.blocks = append(o.blocks, [2]uint32{uint32(from), uint32(to)})
		}
	case "FO", "FOEXP", "md5":
		if p.tok.kind == tokName || p.tok.kind == tokNumber {
			text := p.tok.text
			if as, ok := p.defines[text]; ok {
				text = as
			}
			if o.bytes, err = hex.DecodeString(text); err == nil {
				err = p.advance()
			}
			if len(o.bytes) > 16 {
				err = fmt.Errorf("%s of %d bytes", o.name, len(o.bytes))
			}
		}
	default:
		err = fmt.Errorf("option %q", o.name)
	}
	return o, err
}
