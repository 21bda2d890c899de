package tty

import "bulkhead/proto/linux"

// OutputSize is how many bytes of output wait for the terminal's other end
// before a writer has to.
const OutputSize = 8192

// echoSlack is how far echo may go beyond that before it is lost.
const echoSlack = 4096

// flushed is what FlushOutput leaves: it counts as having left already.
const flushed = BufferSize - 1

// Output is a program writing p. It takes what there is room for and gives how
// much that was.
func (d *Discipline) Output(p []byte) int {
	if d.stopped {
		return 0
	}
	if !d.oflag(linux.OPOST) {
		n := min(len(p), d.Room())
		d.out = append(d.out, p[:n]...)
		return n
	}
	for i, c := range p {
		if room := d.Room(); room < 8 && room < d.width(c) {
			return i
		}
		d.out = d.show(d.out, c)
	}
	return len(p)
}

// Room is how much a writer may write.
func (d *Discipline) Room() int {
	if d.stopped {
		return 0
	}
	return max(OutputSize-len(d.out), 0)
}

// width is how many bytes show makes of c, at most.
func (d *Discipline) width(c byte) int {
	switch {
	case c == '\n' && d.oflag(linux.ONLCR):
		return 2
	case c == '\t' && d.t.Oflag&linux.TABDLY == linux.XTABS:
		return 8
	}
	return 1
}

// show appends to b what c is on the screen under OPOST, and keeps the column.
func (d *Discipline) show(b []byte, c byte) []byte {
	switch c {
	case '\n':
		if d.oflag(linux.ONLRET) {
			d.column = 0
		}
		if d.oflag(linux.ONLCR) {
			d.column, d.lineColumn = 0, 0
			b = append(b, '\r')
		}
		d.lineColumn = d.column
	case '\r':
		if d.oflag(linux.ONOCR) && d.column == 0 {
			return b
		}
		if d.oflag(linux.OCRNL) {
			c = '\n'
			if d.oflag(linux.ONLRET) {
				d.column, d.lineColumn = 0, 0
			}
			break
		}
		d.column, d.lineColumn = 0, 0
	case '\t':
		spaces := 8 - d.column&7
		d.column += spaces
		if d.t.Oflag&linux.TABDLY == linux.XTABS {
			for range spaces {
				b = append(b, ' ')
			}
			return b
		}
	case '\b':
		if d.column > 0 {
			d.column--
		}
	default:
		if control(c) {
			break
		}
		if d.oflag(linux.OLCUC) {
			c = upper(c)
		}
		if !d.continuation(c) {
			d.column++
		}
	}
	return append(b, c)
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' || c >= 0xe0 && c != 0xf7 && c != 0xff {
		return c - 32
	}
	return c
}

// release lets echo out; what is more than the slack is lost.
func (d *Discipline) release() {
	room := max(OutputSize+echoSlack-len(d.out), 0)
	d.out = append(d.out, d.held[:min(room, len(d.held))]...)
	d.held = d.held[:0]
	d.heldColumn, d.heldLineColumn = d.column, d.lineColumn
}

// put is a byte of echo.
func (d *Discipline) put(c byte) {
	if len(d.held) < echoSlack {
		d.held = append(d.held, c)
	}
}

// Pending is how many bytes of output wait for the other end.
func (d *Discipline) Pending() int { return len(d.out) }

// Take gives output to the terminal's other end.
func (d *Discipline) Take(p []byte) int {
	n := copy(p, d.out)
	d.out = append(d.out[:0], d.out[n:]...)
	return n
}

// FlushOutput discards output that the other end has not been offered yet.
func (d *Discipline) FlushOutput() {
	if len(d.out) > flushed {
		d.out = d.out[:flushed]
	}
	d.status |= linux.TIOCPKT_FLUSHWRITE
}

// DropOutput discards all output: TCFLSH at the other end.
func (d *Discipline) DropOutput() { d.out = d.out[:0] }

// echo shows a typed character: control characters as ^X under ECHOCTL.
func (d *Discipline) echo(c byte) {
	if d.lflag(linux.ECHOCTL) && control(c) && c != '\t' {
		d.put('^')
		d.put(c ^ 0o100)
		d.column += 2
		return
	}
	d.echoRaw(c)
}

// echoRaw shows a byte as a program's output would be.
func (d *Discipline) echoRaw(c byte) {
	switch {
	case !d.oflag(linux.OPOST):
		d.put(c)
	case len(d.held) < echoSlack:
		d.held = d.show(d.held, c)
	}
}

// markLine remembers the column of the first character of a line.
func (d *Discipline) markLine() {
	if len(d.in) == d.done {
		d.lineColumn = d.column
	}
}

// finishErasing closes the \.../ of ECHOPRT.
func (d *Discipline) finishErasing() {
	if d.erasing {
		d.echoRaw('/')
		d.erasing = false
	}
}

// echoErased shows that the character gone was taken back: by ERASE (one), or
// by WERASE or KILL.
func (d *Discipline) echoErased(gone []byte, one bool) {
	c := gone[0]
	switch {
	case d.lflag(linux.ECHOPRT):
		if !d.erasing {
			d.echoRaw('\\')
			d.erasing = true
		}
		d.echo(c)
		for _, b := range gone[1:] {
			d.echoRaw(b)
			d.column = max(d.column-1, 0)
		}
	case one && !d.lflag(linux.ECHOE):
		d.echo(d.t.Cc[linux.VERASE])
	case c == '\t':
		d.echoErasedTab()
	case control(c):
		if d.lflag(linux.ECHOCTL) {
			d.rub()
			d.rub()
		}
	default:
		d.rub()
	}
}

func (d *Discipline) rub() {
	d.echoRaw('\b')
	d.echoRaw(' ')
	d.echoRaw('\b')
}

// echoErasedTab goes back over a tab: as far as the characters before it, since
// the tab before or the start of the line, left it to go.
func (d *Discipline) echoErasedTab() {
	columns, afterTab := 0, false
	for i := len(d.in) - 1; i >= d.done; i-- {
		c := d.in[i]
		if c == '\t' {
			afterTab = true
			break
		}
		if control(c) {
			if d.lflag(linux.ECHOCTL) {
				columns += 2
			}
		} else if !d.continuation(c) {
			columns++
		}
	}
	columns &= 7
	if !afterTab {
		columns += d.lineColumn
	}
	for range 8 - columns&7 {
		d.put('\b')
		d.column = max(d.column-1, 0)
	}
}
