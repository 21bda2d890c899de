package drill

import (
	"fmt"
	"time"
)

// event is one line of a script.
type event struct {
	line     int
	at       time.Duration // since the event before, or with absolute since the start
	absolute bool
	anyTime  bool
	window   time.Duration // it may happen until so much later
	blocking bool          // a call that returns at at+window

	packet  *packet
	out     bool // the packet is one that must be sent
	call    *call
	command string
	code    string
}

// call is a system call as it is written.
type call struct {
	name string
	args []expr
	want expr
	errn string // the error's name, if it must fail
}

// parse reads a script, in which the names of defines stand for their values. Of
// options (--name=value) it takes none: who runs it gives them.
func parse(text string, defines map[string]string) ([]event, error) {
	p := &parser{lexer: lexer{text: text, line: 1}, defines: defines}
	if err := p.advance(); err != nil {
		return nil, err
	}
	var events []event
	for p.tok.kind != tokEnd {
		if p.is("-") {
			if err := p.option(); err != nil {
				return nil, p.wrap(err)
			}
			continue
		}
		e, err := p.event()
		if err != nil {
			return nil, p.wrap(err)
		}
		events = append(events, e)
	}
	return events, nil
}

type parser struct {
	lexer
	tok     token
	deep    int
	defines map[string]string
}

func (p *parser) wrap(err error) error { return fmt.Errorf("line %d: %w", p.tok.line, err) }

func (p *parser) advance() error {
	var err error
	p.tok, err = p.lexer.next()
	return err
}

func (p *parser) is(punct string) bool { return p.tok.kind == tokPunct && p.tok.text == punct }

// take takes a punctuation if it is there.
func (p *parser) take(punct string) (bool, error) {
	if !p.is(punct) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(punct string) error {
	ok, err := p.take(punct)
	if err == nil && !ok {
		err = fmt.Errorf("%s where %q belongs", p.tok, punct)
	}
	return err
}

func (p *parser) number() (int64, error) {
	if p.tok.kind != tokNumber {
		return 0, fmt.Errorf("%s where a number belongs", p.tok)
	}
	n := p.tok.num
	return n, p.advance()
}

// option passes over a line --name=value.
func (p *parser) option() error {
	line := p.tok.line
	for p.tok.line == line && p.tok.kind != tokEnd {
		if err := p.advance(); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) event() (event, error) {
	e := event{line: p.tok.line}
	if p.tok.kind != tokCommand { // those before the first event have no time
		if err := p.times(&e); err != nil {
			return e, err
		}
	}
	switch {
	case p.tok.kind == tokCommand:
		e.command = p.tok.text
		return e, p.advance()
	case p.tok.kind == tokCode:
		e.code = p.tok.text
		return e, p.advance()
	case p.is("<"), p.is(">"):
		e.out = p.is(">")
		if err := p.advance(); err != nil {
			return e, err
		}
		var err error
		e.packet, err = p.packet()
		return e, err
	case p.tok.kind == tokName:
		var err error
		e.call, err = p.call()
		return e, err
	}
	return e, fmt.Errorf("%s where an event belongs", p.tok)
}

// seconds reads a number of them.
func (p *parser) seconds() (time.Duration, error) {
	t := p.tok
	switch t.kind {
	case tokTime:
		return time.Duration(t.num) * time.Microsecond, p.advance()
	case tokNumber:
		return time.Duration(t.num) * time.Second, p.advance()
	}
	return 0, fmt.Errorf("%s where a time belongs", t)
}

// times reads "0.1", "+.1", "+0...0.1" (a call that blocks), "+0~+.1" (a packet
// in that time) and "*".
func (p *parser) times(e *event) error {
	if ok, err := p.take("*"); ok || err != nil {
		e.anyTime = true
		return err
	}
	relative, err := p.take("+")
	if err != nil {
		return err
	}
	e.absolute = !relative
	if e.at, err = p.seconds(); err != nil {
		return err
	}
	switch {
	case p.is("..."):
		e.blocking = true
	case !p.is("~"):
		return nil
	}
	if err := p.advance(); err != nil {
		return err
	}
	if _, err := p.take("+"); err != nil {
		return err
	}
	end, err := p.seconds()
	if err != nil {
		return err
	}
	e.window = max(end-e.at, 0)
	return nil
}

func (p *parser) call() (*call, error) {
	c := &call{name: p.tok.text}
	if err := p.advance(); err != nil {
		return c, err
	}
	if err := p.expect("("); err != nil {
		return c, err
	}
	for !p.is(")") {
		x, err := p.expr()
		if err != nil {
			return c, err
		}
		c.args = append(c.args, x)
		if ok, err := p.take(","); err != nil {
			return c, err
		} else if !ok {
			break
		}
	}
	if err := p.expect(")"); err != nil {
		return c, err
	}
	if err := p.expect("="); err != nil {
		return c, err
	}
	var err error
	if c.want, err = p.expr(); err != nil {
		return c, err
	}
	if p.tok.kind == tokName {
		c.errn = p.tok.text
		if err := p.advance(); err != nil {
			return c, err
		}
	}
	if p.is("(") { // what the error or the flags mean, in words
		for depth := 0; ; {
			if p.is("(") {
				depth++
			} else if p.is(")") {
				depth--
			} else if p.tok.kind == tokEnd {
				return c, fmt.Errorf("( is never closed")
			}
			if err := p.advance(); err != nil {
				return c, err
			}
			if depth == 0 {
				break
			}
		}
	}
	return c, nil
}
