package heap

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// flags are VmFlags of the mapping that address lies in: proc_pid_smaps(5).
func flags(t *testing.T, address uintptr) string {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			inside = from <= address && address < to
		}
		if rest, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && inside {
			return rest + " "
		}
	}
	t.Fatalf("nothing is mapped at %#x", address)
	return ""
}

// All of the heap that a process begins with is to have huge pages until Slim.
func TestAdvised(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("the kernel has no huge pages: ", err)
	}
	if end-begin < hugePage {
		t.Fatalf("only %#x-%#x was advised", begin, end)
	}
	if at := uintptr(unsafe.Pointer(first)); at < begin || at >= begin+hugePage {
		t.Errorf("the first object lies at %#x, not at the begin of %#x-%#x", at, begin, end)
	}
	for _, at := range []uintptr{begin, end - 1} {
		if got := flags(t, at); !strings.Contains(got, " hg ") {
			t.Errorf("flags at %#x are%s, without hg", at, got)
		}
	}
	defer advise(begin, end)
	Slim()
	if got := flags(t, begin); strings.Contains(got, " hg ") || !strings.Contains(got, " nh ") {
		t.Errorf("flags after Slim are%s, without nh", got)
	}
}
