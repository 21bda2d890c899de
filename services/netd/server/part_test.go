package server

import (
	"testing"

	"bulkhead/proto/cores"
)

// A loop leaves after waits that others ended; one that only ran others now and then
// says nothing about the core.
func TestCrowded(t *testing.T) {
	p := cores.Parting{After: partAfter, Worth: partWorth}
	for range 100 {
		for range partAfter - 1 {
			if crowded(&p, lingerCrowd) {
				t.Fatal("the loop leaves too soon")
			}
		}
		crowded(&p, 0)
	}
	for range 100 {
		if crowded(&p, lingerCrowd-1) {
			t.Fatal("the loop leaves though it went on looking")
		}
	}
	for n := 1; n <= partAfter; n++ {
		if crowded(&p, lingerCrowd) != (n == partAfter) {
			t.Fatalf("look %d of %d", n, partAfter)
		}
	}
}
