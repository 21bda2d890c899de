package platform

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// findVDSO reads where the host put the vDSO and its data in the zygote, and so
// in all stubs.
func (m *Machine) findVDSO(pid int) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return fmt.Errorf("find its vDSO: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var start, end uint64
		line := lines.Text()
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			continue
		}
		switch {
		case strings.HasSuffix(line, "[vdso]"):
			m.VDSO = start
			m.VDSOEnd = end
		case strings.Contains(line, "[vvar"):
			if m.VDSOStart == 0 || start < m.VDSOStart {
				m.VDSOStart = start
			}
		}
	}
	if m.VDSO == 0 || m.VDSO < base {
		return fmt.Errorf("find its vDSO: it lies at %#x, below the stub", m.VDSO)
	}
	return nil
}
