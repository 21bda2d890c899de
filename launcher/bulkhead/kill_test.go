package main

import "testing"

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]int32{"9": 9, "KILL": 9, "SIGTERM": 15, "term": 15, "64": 64, "SIGWINCH": 28} {
		if got, err := parseSignal(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-9", "65", "NOPE"} {
		if got, err := parseSignal(text); err == nil {
			t.Errorf("%q gave %d", text, got)
		}
	}
}
