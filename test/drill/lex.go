package drill

import (
	"fmt"
	"strconv"
	"strings"
)

// A token is a name, a number, a string, a punctuation, or the text of `command`
// or %{ code }%.
type token struct {
	kind tokenKind
	text string
	num  int64
	line int
}

type tokenKind byte

const (
	tokEnd tokenKind = iota
	tokName
	tokNumber // of digits, maybe hexadecimal
	tokTime   // with a decimal point, in microseconds
	tokString
	tokPunct // one byte, or "..." or "=="
	tokCommand
	tokCode
)

func (t token) String() string {
	if t.kind == tokEnd {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// lexer cuts a script into tokens.
type lexer struct {
	text string
	line int
}

func isLetter(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skip leaves out blanks and comments.
func (l *lexer) skip() {
	for l.text != "" {
		switch {
		case l.text[0] == '\n':
			l.line++
			l.text = l.text[1:]
		case strings.IndexByte(" \t\r", l.text[0]) >= 0:
			l.text = l.text[1:]
		case strings.HasPrefix(l.text, "//"), l.text[0] == '#':
			end := strings.IndexByte(l.text, '\n')
			if end < 0 {
				end = len(l.text)
			}
			l.text = l.text[end:]
		case strings.HasPrefix(l.text, "/*"):
			end := strings.Index(l.text, "*/")
			if end < 0 {
				end = len(l.text) - 2
			}
			l.line += strings.Count(l.text[:end], "\n")
			l.text = l.text[end+2:]
		default:
			return
		}
	}
}

// until takes what stands before the first closing, which it takes too.
func (l *lexer) until(open, closing string) (string, error) {
	body := l.text[len(open):]
	end := strings.Index(body, closing)
	if end < 0 {
		return "", fmt.Errorf("%s is never closed", open)
	}
	l.line += strings.Count(body[:end], "\n")
	l.text = body[end+len(closing):]
	return body[:end], nil
}

func (l *lexer) next() (token, error) {
	l.skip()
	t := token{line: l.line}
	if l.text == "" {
		return t, nil
	}
	var err error
	switch c := l.text[0]; {
	case c == '`':
		t.kind = tokCommand
		t.text, err = l.until("`", "`")
		return t, err
	case c == '"':
		t.kind = tokString
		t.text, err = l.until(`"`, `"`)
		return t, err
	case strings.HasPrefix(l.text, "%{"):
		t.kind = tokCode
		t.text, err = l.until("%{", "}%")
		return t, err
	case isLetter(c):
		n := 1
		for n < len(l.text) && (isLetter(l.text[n]) || isDigit(l.text[n])) {
			n++
		}
		t.kind, t.text, l.text = tokName, l.text[:n], l.text[n:]
		return t, nil
	case isDigit(c), c == '.' && len(l.text) > 1 && isDigit(l.text[1]):
		return l.number(t)
	}
	n := 1
	for _, long := range []string{"...", "==", "<<"} {
		if strings.HasPrefix(l.text, long) {
			n = len(long)
		}
	}
	t.kind, t.text, l.text = tokPunct, l.text[:n], l.text[n:]
	return t, nil
}

// number reads 12, 0x1f, 1.5 and .5, but not the first dot of 0...1. What is
// written of digits and letters together, as the hexadecimal of a cookie, is a name.
func (l *lexer) number(t token) (token, error) {
	n := 0
	for n < len(l.text) && (isDigit(l.text[n]) || isLetter(l.text[n])) {
		n++
	}
	if n < len(l.text) && l.text[n] == '.' && !strings.HasPrefix(l.text[n:], "...") {
		n++
		for n < len(l.text) && isDigit(l.text[n]) {
			n++
		}
		t.kind, t.text, l.text = tokTime, l.text[:n], l.text[n:]
		s, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return t, fmt.Errorf("%s is no number", t.text)
		}
		t.num = int64(s*1e6 + 0.5)
		return t, nil
	}
	t.kind, t.text, l.text = tokNumber, l.text[:n], l.text[n:]
	v, err := strconv.ParseUint(t.text, 0, 64)
	if err != nil {
		if v, err = strconv.ParseUint(t.text, 10, 64); err != nil {
			t.kind = tokName
		}
	}
	t.num = int64(v)
	return t, nil
}
