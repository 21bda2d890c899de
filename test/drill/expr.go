package drill

import (
	"fmt"
	"net/netip"
	"strconv"
)

// expr is a value as it is written: a number, which may be an or of names, a string,
// "...", a list or a structure.
type expr struct {
	kind   exprKind
	num    int64
	text   string
	list   []expr
	fields []field
}

type exprKind byte

const (
	exprEllipsis exprKind = iota
	exprNumber
	exprString
	exprList
	exprStruct
)

// field is name=value of a structure; of msg_iov(2)=... count is 2.
type field struct {
	name  string
	value expr
}

func (x expr) field(name string) (expr, bool) {
	for _, f := range x.fields {
		if f.name == name {
			return f.value, true
		}
	}
	return expr{}, false
}

// number is a field's, or 0.
func (x expr) number(name string) int64 {
	v, _ := x.field(name)
	return v.num
}

// depth bounds how deep expressions nest.
const depth = 32

func (p *parser) expr() (expr, error) {
	if p.deep++; p.deep > depth {
		return expr{}, fmt.Errorf("nested too deep")
	}
	defer func() { p.deep-- }()
	switch {
	case p.is("..."):
		return expr{kind: exprEllipsis}, p.advance()
	case p.is("["):
		return p.list()
	case p.is("{"):
		return p.structure()
	case p.tok.kind == tokString:
		text, err := strconv.Unquote(`"` + p.tok.text + `"`)
		if err != nil {
			return expr{}, fmt.Errorf("%s: %w", p.tok, err)
		}
		return expr{kind: exprString, text: text}, p.advance()
	}
	x, err := p.term()
	for err == nil && p.is("|") {
		if err = p.advance(); err != nil {
			break
		}
		var y expr
		if y, err = p.term(); err == nil {
			x.num |= y.num
		}
	}
	return x, err
}

// constant is the number that a name stands for.
func (p *parser) constant(name string) (int64, bool) {
	if as, ok := p.defines[name]; ok {
		name = as
	}
	n, ok := constants[name]
	return n, ok
}

// term is a number, a name, or htons(1) and the like.
func (p *parser) term() (expr, error) {
	minus, err := p.take("-")
	if err != nil {
		return expr{}, err
	}
	x := expr{kind: exprNumber, num: p.tok.num}
	switch p.tok.kind {
	case tokNumber, tokTime:
	case tokName:
		switch p.tok.text {
		case "htons", "htonl", "inet_addr", "inet6_addr":
			return p.address()
		}
		n, ok := p.constant(p.tok.text)
		if !ok {
			return x, fmt.Errorf("%s is not known", p.tok.text)
		}
		x.num = n
	default:
		return x, fmt.Errorf("%s where a value belongs", p.tok)
	}
	if minus {
		x.num = -x.num
	}
	if err := p.advance(); err != nil {
		return x, err
	}
	if ok, err := p.take("<<"); ok && err == nil {
		y, err := p.term()
		x.num <<= uint64(y.num) & 63
		return x, err
	}
	return x, err
}

// address reads htons(port), whose number stays in the host's order, and inet_addr("1.2.3.4").
func (p *parser) address() (expr, error) {
	if err := p.advance(); err != nil {
		return expr{}, err
	}
	if err := p.expect("("); err != nil {
		return expr{}, err
	}
	x, err := p.expr()
	if err != nil {
		return x, err
	}
	if x.kind == exprString {
		if _, err := netip.ParseAddr(x.text); err != nil {
			return x, err
		}
	}
	return x, p.expect(")")
}

func (p *parser) list() (expr, error) {
	x := expr{kind: exprList}
	if err := p.expect("["); err != nil {
		return x, err
	}
	for !p.is("]") {
		v, err := p.expr()
		if err != nil {
			return x, err
		}
		x.list = append(x.list, v)
		if ok, err := p.take(","); err != nil {
			return x, err
		} else if !ok {
			break
		}
	}
	return x, p.expect("]")
}

// structure reads {name=value, msg_iov(2)=..., ..., 1000}: what has no name is a
// field without one.
func (p *parser) structure() (expr, error) {
	x := expr{kind: exprStruct}
	if err := p.expect("{"); err != nil {
		return x, err
	}
	for !p.is("}") {
		var f field
		if _, known := p.constant(p.tok.text); p.tok.kind == tokName && !known {
			f.name = p.tok.text
			if err := p.advance(); err != nil {
				return x, err
			}
			if ok, err := p.take("("); err != nil {
				return x, err
			} else if ok { // a length, which the value has as well
				if _, err := p.expr(); err != nil {
					return x, err
				}
				if err := p.expect(")"); err != nil {
					return x, err
				}
			}
			if err := p.expect("="); err != nil {
				return x, err
			}
		}
		var err error
		if f.value, err = p.expr(); err != nil {
			return x, err
		}
		x.fields = append(x.fields, f)
		if ok, err := p.take(","); err != nil {
			return x, err
		} else if !ok {
			break
		}
	}
	return x, p.expect("}")
}
