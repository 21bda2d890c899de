package tty

import "bulkhead/proto/linux"

// Input is keys pressed: p arrives from the terminal's other end. It takes what
// there is room for and gives how much that was. A canonical line that is full
// takes everything and loses what comes before its end, as Linux does. The echo
// of p appears when all of it is taken: a signal character discards what came
// with it.
func (d *Discipline) Input(p []byte) int {
	if len(d.held) == 0 {
		d.heldColumn, d.heldLineColumn = d.column, d.lineColumn
	}
	n := d.keys(p)
	if !d.stopped {
		d.release()
	}
	return n
}

func (d *Discipline) keys(p []byte) int {
	for i, c := range p {
		room := BufferSize - len(d.in)
		if d.iflag(linux.PARMRK) {
			room = (room + 2) / 3
		}
		room--
		if room <= 0 {
			if !d.canonical() || d.done > 0 {
				return i
			}
			if room < 0 {
				d.in, d.end = d.in[:len(d.in)-1], d.end[:len(d.end)-1]
			}
		}
		d.key(c)
	}
	return len(p)
}

// key takes one character: strip it, obey it or store it.
func (d *Discipline) key(c byte) {
	if d.iflag(linux.ISTRIP) {
		c &= 0x7f
	}
	if d.iflag(linux.IUCLC) && d.lflag(linux.IEXTEN) {
		c = lower(c)
	}
	if d.literal {
		d.literal = false
		d.plain(c)
		return
	}
	if d.flow(c) || d.signal(c) {
		return
	}
	d.restart()
	wasReturn := c == '\r'
	switch {
	case wasReturn && d.iflag(linux.IGNCR):
		return
	case wasReturn && d.iflag(linux.ICRNL):
		c = '\n'
	case c == '\n' && d.iflag(linux.INLCR):
		c = '\r'
	}
	if d.canonical() && d.edit(c) {
		return
	}
	if c == '\n' && wasReturn && d.lflag(linux.ECHO) { // a newline, not ^J
		d.finishErasing()
		d.echoRaw(c)
		d.store(c)
		return
	}
	d.plain(c)
}

// flow obeys START and STOP.
func (d *Discipline) flow(c byte) bool {
	if !d.iflag(linux.IXON) {
		return false
	}
	switch {
	case d.is(c, linux.VSTART):
		d.resume()
	case d.is(c, linux.VSTOP):
		d.Stop()
	default:
		return false
	}
	return true
}

// restart lets any key start stopped output, where IXANY says so.
func (d *Discipline) restart() {
	if d.stopped && d.iflag(linux.IXON) && d.iflag(linux.IXANY) {
		d.resume()
	}
}

// signal obeys INTR, QUIT and SUSP.
func (d *Discipline) signal(c byte) bool {
	if !d.lflag(linux.ISIG) {
		return false
	}
	switch {
	case d.is(c, linux.VINTR):
		d.Signal(sigINT)
	case d.is(c, linux.VQUIT):
		d.Signal(sigQUIT)
	case d.is(c, linux.VSUSP):
		d.Signal(sigTSTP)
	default:
		return false
	}
	if d.iflag(linux.IXON) {
		d.resume()
	}
	if d.lflag(linux.ECHO) {
		d.echo(c)
	}
	return true
}

// Signal sends sig to the foreground group and, without NOFLSH, discards input
// and the output that has not left yet.
func (d *Discipline) Signal(sig int32) {
	d.signals = append(d.signals, sig)
	if d.lflag(linux.NOFLSH) {
		return
	}
	d.held = d.held[:0]
	d.column, d.lineColumn = d.heldColumn, d.heldLineColumn
	d.FlushOutput()
	d.FlushInput()
}

// edit obeys the characters of canonical mode. It says whether c was one.
func (d *Discipline) edit(c byte) bool {
	extended := d.lflag(linux.IEXTEN)
	switch {
	case d.is(c, linux.VERASE), d.is(c, linux.VKILL), extended && d.is(c, linux.VWERASE):
		d.erase(c)
	case extended && d.is(c, linux.VLNEXT):
		d.literal = true
		if d.lflag(linux.ECHO) {
			d.finishErasing()
			if d.lflag(linux.ECHOCTL) {
				d.echoRaw('^')
				d.echoRaw('\b')
			}
		}
	case extended && d.lflag(linux.ECHO) && d.is(c, linux.VREPRINT):
		d.finishErasing()
		d.echo(c)
		d.echoRaw('\n')
		for _, b := range d.in[d.done:] {
			d.echo(b)
		}
	case c == '\n':
		if d.lflag(linux.ECHO) || d.lflag(linux.ECHONL) {
			d.echoRaw('\n')
		}
		d.finish(c)
	case d.is(c, linux.VEOF):
		d.finish(0)
	case d.is(c, linux.VEOL), extended && d.is(c, linux.VEOL2):
		if d.lflag(linux.ECHO) {
			d.markLine()
			d.echo(c)
		}
		d.finish(c)
	default:
		return false
	}
	return true
}

// plain echoes and stores a character without a meaning.
func (d *Discipline) plain(c byte) {
	d.restart()
	if d.lflag(linux.ECHO) {
		d.finishErasing()
		d.markLine()
		d.echo(c)
	}
	d.store(c)
}

// store keeps c for readers; PARMRK doubles 0xff to tell it from a mark.
func (d *Discipline) store(c byte) {
	if c == 0xff && d.iflag(linux.PARMRK) {
		d.in, d.end = append(d.in, c), append(d.end, false)
	}
	d.in, d.end = append(d.in, c), append(d.end, false)
}

// finish ends the line with c, 0 for an end of file.
func (d *Discipline) finish(c byte) {
	if c == 0xff && d.iflag(linux.PARMRK) {
		d.in, d.end = append(d.in, c), append(d.end, false)
	}
	d.in, d.end = append(d.in, c), append(d.end, true)
	d.done = len(d.in)
}

// erase takes back a character (ERASE), a word (WERASE) or the line (KILL).
func (d *Discipline) erase(c byte) {
	if len(d.in) == d.done {
		return
	}
	one := d.is(c, linux.VERASE)
	word := !one && d.lflag(linux.IEXTEN) && d.is(c, linux.VWERASE)
	if !one && !word && d.kill(c) {
		return
	}
	for inWord := false; len(d.in) > d.done; {
		at := d.lastChar()
		if at < 0 {
			break
		}
		if word {
			if wordChar(d.in[at]) {
				inWord = true
			} else if inWord {
				break
			}
		}
		gone := append([]byte(nil), d.in[at:]...)
		d.in, d.end = d.in[:at], d.end[:at]
		if d.lflag(linux.ECHO) {
			d.echoErased(gone, one)
		}
		if one {
			break
		}
	}
	if len(d.in) == d.done && d.lflag(linux.ECHO) {
		d.finishErasing()
	}
}

// kill drops the line at once where it need not be rubbed out on the screen.
func (d *Discipline) kill(c byte) bool {
	const rub = linux.ECHOK | linux.ECHOKE | linux.ECHOE
	if d.lflag(linux.ECHO) && d.t.Lflag&rub == rub {
		return false
	}
	d.in, d.end = d.in[:d.done], d.end[:d.done]
	if d.lflag(linux.ECHO) {
		d.finishErasing()
		d.echo(c)
		if d.lflag(linux.ECHOK) {
			d.echoRaw('\n')
		}
	}
	return true
}

// lastChar is where the last character of the line begins, -1 if only a part of
// one is left.
func (d *Discipline) lastChar() int {
	at := len(d.in) - 1
	for at > d.done && d.continuation(d.in[at]) {
		at--
	}
	if d.continuation(d.in[at]) {
		return -1
	}
	return at
}

// wordChar says what WERASE takes for part of a word, in Latin-1 as Linux.
func wordChar(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		return true
	}
	return c >= 0xc0 && c != 0xd7 && c != 0xf7
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' || c >= 0xc0 && c <= 0xde && c != 0xd7 {
		return c + 32
	}
	return c
}

func control(c byte) bool { return c < 32 || c == 127 }
