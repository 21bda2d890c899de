package drill

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse_refuses(t *testing.T) {
	for _, text := range []string{
		"0 socket(", "0 socket(..., NO_SUCH) = 3", "+", "0 < S 0:0(0", "0 < Q 0:0(0)", "0 < . 1:70000(70000)", "0 < S 0:0(0) <mss>",
		"0 < S 0:0(0) <FO zz>", "`never closed", "%{ never closed", "0 read(3, ..., 1) = " + strings.Repeat("[", 100), "0 write(1, \"\\q\", 1) = 1",
	} {
		if _, err := parse(text, nil); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// What was read of a segment is what was written.
func TestSegment_back(t *testing.T) {
	events, err := parse("0 < [ce] SEW. 5:105(100) ack 7 win 9 <mss 1000,sackOK,TS val 1 ecr 2,nop,wscale 7,FO 01020304050607080910>", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tcpSegment(1, 2, events[0].packet, true)
	if err != nil {
		t.Fatal(err)
	}
	k, p, err := readSegment(b, ecnBits["ce"])
	if want := events[0].packet; err != nil || p != (ports{1, 2}) || k.String() != "[ce] S.EW 5:105(100) ack 7 win 9 "+optionsString(want.options) {
		t.Errorf("%s %v %v", k, p, err)
	}
}

func FuzzParse(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.pkt")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		events, err := parse(text, nil)
		if err != nil {
			return
		}
		for _, e := range events {
			if e.packet != nil && e.packet.icmp == "" {
				if b, err := tcpSegment(1, 2, e.packet, true); err == nil {
					readSegment(b, 0)
				}
			}
		}
	})
}
