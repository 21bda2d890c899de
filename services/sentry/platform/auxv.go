package platform

import (
	"encoding/binary"
	"os"
)

// Entries of the auxiliary vector that describe the processor: getauxval(3).
const (
	atHWCap       = 16
	atHWCap2      = 26
	atMinSigStack = 51
)

// readAuxv learns from the sentry's own auxiliary vector what a guest's must say
// of the processor.
func (m *Machine) readAuxv() {
	p, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return // a guest then finds out with CPUID
	}
	for le := binary.LittleEndian; len(p) >= 16; p = p[16:] {
		v := le.Uint64(p[8:])
		switch le.Uint64(p) {
		case atHWCap:
			m.HWCap = v
		case atHWCap2:
			m.HWCap2 = v
		case atMinSigStack:
			m.MinSigStack = v
		}
	}
}
