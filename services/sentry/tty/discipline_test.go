package tty

import (
	"bytes"
	"strings"
	"testing"

	"bulkhead/proto/linux"
)

// change is what a case sets differently from a new terminal.
type change func(t *linux.Termios2)

func set(field func(t *linux.Termios2) *uint32, on, off uint32) change {
	return func(t *linux.Termios2) { p := field(t); *p = *p&^off | on }
}
func lflag(on, off uint32) change {
	return set(func(t *linux.Termios2) *uint32 { return &t.Lflag }, on, off)
}
func iflag(on, off uint32) change {
	return set(func(t *linux.Termios2) *uint32 { return &t.Iflag }, on, off)
}
func oflag(on, off uint32) change {
	return set(func(t *linux.Termios2) *uint32 { return &t.Oflag }, on, off)
}
func cc(index int, c byte) change { return func(t *linux.Termios2) { t.Cc[index] = c } }

func with(changes ...change) change {
	return func(t *linux.Termios2) {
		for _, c := range changes {
			c(t)
		}
	}
}

// typed are keys pressed, what a reader then gets (one string a read; "" is the
// end of file) and what the screen shows.
var typed = []struct {
	name   string
	change change
	keys   string
	reads  []string
	screen string
}{
	{"canonical_line", nil, "ls\r", []string{"ls\n"}, "ls\r\n"},
	{"canonical_two_lines", nil, "a\rb\r", []string{"a\n", "b\n"}, "a\r\nb\r\n"},
	{"canonical_unfinished", nil, "ls", nil, "ls"},
	{"canonical_erase", nil, "lx\x7fs\r", []string{"ls\n"}, "lx\b \bs\r\n"},
	{"canonical_erase_nothing", nil, "\x7f\r", []string{"\n"}, "\r\n"},
	{"canonical_erase_control", nil, "\x01\x7f\r", []string{"\n"}, "^A\b \b\b \b\r\n"},
	{"canonical_erase_tab", nil, "ab\t\x7f\r", []string{"ab\n"}, "ab\t\b\b\b\b\b\b\r\n"},
	{"canonical_erase_tab_after_tab", nil, "\t\t\x7f\r", []string{"\t\n"}, "\t\t\b\b\b\b\b\b\b\b\r\n"},
	{"canonical_erase_utf8", iflag(linux.IUTF8, 0), "é\x7f\r", []string{"\n"}, "é\b \b\r\n"},
	{"canonical_erase_byte", nil, "é\x7f\r", []string{"\xc3\n"}, "é\b \b\r\n"},
	{"canonical_erase_without_echoe", lflag(0, linux.ECHOE), "a\x7f\r", []string{"\n"}, "a^?\r\n"},
	{"canonical_erase_echoprt", lflag(linux.ECHOPRT, 0), "ab\x7f\x7fc\r", []string{"c\n"}, "ab\\ba/c\r\n"},
	{"canonical_kill", nil, "abc\x15d\r", []string{"d\n"}, "abc\b \b\b \b\b \bd\r\n"},
	{"canonical_kill_without_echoke", lflag(0, linux.ECHOKE), "abc\x15d\r", []string{"d\n"}, "abc^U\r\nd\r\n"},
	{"canonical_kill_without_echok", lflag(0, linux.ECHOK), "abc\x15d\r", []string{"d\n"}, "abc^Ud\r\n"},
	{"canonical_word_erase", nil, "ab cd  \x17\r", []string{"ab \n"}, "ab cd  " + strings.Repeat("\b \b", 4) + "\r\n"},
	{"canonical_word_erase_without_iexten", lflag(0, linux.IEXTEN), "a\x17\r", []string{"a\x17\n"}, "a^W\r\n"},
	{"canonical_eof", nil, "\x04", []string{""}, ""},
	{"canonical_eof_after_text", nil, "ab\x04c\r", []string{"ab", "c\n"}, "abc\r\n"},
	{"canonical_eol", cc(linux.VEOL, ';'), "a;b\r", []string{"a;", "b\n"}, "a;b\r\n"},
	{"canonical_literal", nil, "\x16\x03\r", []string{"\x03\n"}, "^\b^C\r\n"},
	{"canonical_literal_newline", nil, "a\x16\nb\r", []string{"a\nb\n"}, "a^\b^Jb\r\n"},
	{"canonical_reprint", nil, "ab\x12c\r", []string{"abc\n"}, "ab^R\r\nabc\r\n"},
	{"canonical_silent", lflag(0, linux.ECHO), "ab\x7f\r", []string{"a\n"}, ""},
	{"canonical_silent_echonl", lflag(linux.ECHONL, linux.ECHO), "ab\r", []string{"ab\n"}, "\r\n"},
	{"canonical_interrupt", nil, "ab\x03c\r", []string{"c\n"}, "^Cc\r\n"},
	{"canonical_interrupt_noflsh", lflag(linux.NOFLSH, 0), "ab\x03c\r", []string{"abc\n"}, "ab^Cc\r\n"},
	{"canonical_stop_start", nil, "a\x13b\x11c\r", []string{"abc\n"}, "abc\r\n"},
	{"canonical_stopped", nil, "a\x13b\r", []string{"ab\n"}, ""},
	{"canonical_ixany", iflag(linux.IXANY, 0), "a\x13b\r", []string{"ab\n"}, "ab\r\n"},
	{"input_cr", iflag(0, linux.ICRNL), "a\rb\n", []string{"a\rb\n"}, "a^Mb\r\n"},
	{"input_igncr", iflag(linux.IGNCR, 0), "a\rb\n", []string{"ab\n"}, "ab\r\n"},
	{"input_inlcr", iflag(linux.INLCR, linux.ICRNL), "a\nb\x04", []string{"a\rb"}, "a^Mb"},
	{"input_istrip", iflag(linux.ISTRIP, 0), "\xe1\r", []string{"a\n"}, "a\r\n"},
	{"input_iuclc", iflag(linux.IUCLC, 0), "AB\r", []string{"ab\n"}, "ab\r\n"},
	{"input_parmrk", with(iflag(linux.PARMRK, 0)), "\xff\r", []string{"\xff\xff\n"}, "\xff\r\n"},
	{"raw", lflag(0, linux.ICANON|linux.ECHO|linux.ISIG), "a\x03\x7f", []string{"a\x03\x7f"}, ""},
	{"raw_echo", lflag(0, linux.ICANON), "a\x7f\r", []string{"a\x7f\n"}, "a^?\r\n"},
	{"output_raw_echo", oflag(0, linux.OPOST), "a\r", []string{"a\n"}, "a\n"},
	{"output_no_onlcr", oflag(0, linux.ONLCR), "a\r", []string{"a\n"}, "a\n"},
}

func terminal(c change) *Discipline {
	d := New()
	if c != nil {
		t := d.Termios()
		c(&t)
		d.SetTermios(t)
	}
	return d
}

func screen(d *Discipline) string {
	b := make([]byte, 65536)
	return string(b[:d.Take(b)])
}

func reads(d *Discipline, size int) (all []string) {
	b := make([]byte, size)
	for {
		n, ok := d.Read(b)
		if !ok {
			return all
		}
		all = append(all, string(b[:n]))
	}
}

func TestTyped(t *testing.T) {
	for _, c := range typed {
		t.Run(c.name, func(t *testing.T) {
			d := terminal(c.change)
			d.Input([]byte(c.keys))
			if got := screen(d); got != c.screen {
				t.Errorf("screen %q, want %q", got, c.screen)
			}
			if got := reads(d, 100); !equal(got, c.reads) {
				t.Errorf("reads %q, want %q", got, c.reads)
			}
		})
	}
}

func equal(a, b []string) bool {
	return len(a) == len(b) && strings.Join(a, "\x00|") == strings.Join(b, "\x00|")
}

func TestReadInParts(t *testing.T) {
	for _, c := range []struct {
		name, keys string
		size       int
		want       []string
	}{
		{"line longer than the buffer", "abcde\r", 3, []string{"abc", "de\n"}},
		{"buffer ends before newline", "abc\r", 3, []string{"abc", "\n"}},
		{"end of file goes with a full buffer", "abc\x04d\r", 3, []string{"abc", "d\n"}},
		{"two ends of file", "abc\x04\x04", 3, []string{"abc", ""}},
	} {
		d := terminal(nil)
		d.Input([]byte(c.keys))
		if got := reads(d, c.size); !equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFullLineKeepsItsEnd(t *testing.T) {
	d := terminal(lflag(0, linux.ECHO))
	if n := d.Input(bytes.Repeat([]byte("x"), 5000)); n != 5000 {
		t.Fatalf("took %d of 5000", n)
	}
	d.Input([]byte("\r"))
	b := make([]byte, 8192)
	if n, _ := d.Read(b); n != BufferSize || b[n-1] != '\n' {
		t.Errorf("read %d bytes ending in %q", n, b[n-1])
	}
}

func TestFullRawBufferRefuses(t *testing.T) {
	d := terminal(lflag(0, linux.ICANON|linux.ECHO))
	if n := d.Input(bytes.Repeat([]byte("x"), 5000)); n != BufferSize-1 {
		t.Errorf("took %d, want %d", n, BufferSize-1)
	}
}

func TestSignals(t *testing.T) {
	d := terminal(nil)
	d.Input([]byte("\x03\x1c\x1a"))
	want := []int32{sigINT, sigQUIT, sigTSTP}
	got := d.TakeSignals()
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("signals %v, want %v", got, want)
	}
	if len(d.TakeSignals()) != 0 {
		t.Error("signals are given twice")
	}
}

func TestModeChangeKeepsInput(t *testing.T) {
	d := terminal(nil)
	d.Input([]byte("ab"))
	raw := d.Termios()
	raw.Lflag &^= linux.ICANON
	d.SetTermios(raw)
	if got := reads(d, 10); !equal(got, []string{"ab"}) {
		t.Errorf("raw reads %q", got)
	}
	d.Input([]byte("cd"))
	cooked := raw
	cooked.Lflag |= linux.ICANON
	d.SetTermios(cooked)
	if got := reads(d, 10); !equal(got, []string{"cd"}) {
		t.Errorf("canonical reads %q", got)
	}
}

func TestOutput(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     change
		text, want string
	}{
		{"onlcr", nil, "a\nb\n", "a\r\nb\r\n"},
		{"raw", oflag(0, linux.OPOST), "a\nb", "a\nb"},
		{"ocrnl", oflag(linux.OCRNL, linux.ONLCR), "a\rb", "a\nb"},
		{"onocr", oflag(linux.ONOCR, 0), "\ra\r", "a\r"},
		{"xtabs", oflag(linux.XTABS, 0), "ab\tc", "ab      c"},
		{"olcuc", oflag(linux.OLCUC, 0), "aB1", "AB1"},
	} {
		d := terminal(c.change)
		if n := d.Output([]byte(c.text)); n != len(c.text) {
			t.Errorf("%s: wrote %d", c.name, n)
		}
		if got := screen(d); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOutputWaitsForRoom(t *testing.T) {
	d := terminal(nil)
	n := d.Output(bytes.Repeat([]byte("\n"), 10000))
	if n != OutputSize/2 {
		t.Errorf("wrote %d newlines, want %d", n, OutputSize/2)
	}
	d.Stop()
	screen(d)
	if n := d.Output([]byte("x")); n != 0 {
		t.Error("a stopped terminal takes output")
	}
}

// FuzzDiscipline feeds keys, output and settings in any order: nothing may
// panic, and nothing may grow past its bound.
func FuzzDiscipline(f *testing.F) {
	f.Add([]byte("ls\r\x7f\x15\x17\x04\x16\x12"), uint32(0), uint32(0), uint32(0))
	f.Add([]byte("\tab\t\x7f\x7f"), uint32(linux.IUTF8), uint32(linux.XTABS), uint32(linux.ECHOPRT))
	f.Fuzz(func(t *testing.T, keys []byte, i, o, l uint32) {
		d := New()
		set := d.Termios()
		set.Iflag ^= i
		set.Oflag ^= o
		set.Lflag ^= l
		b := make([]byte, 7)
		for n, c := range keys {
			switch n % 5 {
			case 0, 1, 2:
				for range 3 {
					d.Input(keys[n:])
				}
			case 3:
				d.Output(keys[n:])
				d.Read(b)
			case 4:
				set.Lflag ^= uint32(c)
				set.Cc[c%linux.NCCS] = c
				d.SetTermios(set)
				d.Take(b)
			}
			if len(d.in) != len(d.end) || d.done > len(d.in) || len(d.in) > BufferSize+1 {
				t.Fatalf("input: %d bytes, %d ends, %d done", len(d.in), len(d.end), d.done)
			}
			if len(d.out) > OutputSize+2*echoSlack || len(d.held) > echoSlack+8 {
				t.Fatalf("output: %d, held %d", len(d.out), len(d.held))
			}
			if n > 64 {
				return
			}
		}
	})
}
