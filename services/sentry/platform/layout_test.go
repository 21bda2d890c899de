package platform

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process of a few threads, with a lease, finds all that is the stub's in one page
// table; and nothing lies over anything else.
func TestLayout(t *testing.T) {
	const table2M = 2 << 20
	for _, c := range []struct {
		name string
		at   uint64
	}{
		{"first area", areaOf(0)}, {"area of the last thread there", areaOf(leaseSlot - 1)}, {"text", textAt},
		{"table", table}, {"end of the table", table + tableSize - 1}, {"first slot", slotOf(0)}, {"end of the lease", slotOf(leaseSlot) + slotSize - 1},
	} {
		if c.at/table2M != uint64(middle)/table2M {
			t.Errorf("%s at %#x is not in the page table of %#x", c.name, c.at, uint64(middle))
		}
	}
	if leaseAt != slotOf(leaseSlot) || areaOf(MaxThreads-1) != areas || areaOf(0)+areaSize != textAt {
		t.Error("areas and slots are not where their numbers say")
	}
	if areas < base || textAt+textSize > table || table+tableSize > slots || slotOf(MaxThreads)-base > 1<<32 {
		t.Error("the stub's parts lie over each other, or leave their 4 GiB")
	}
	for _, i := range []int{0, 1, leaseSlot, MaxThreads - 1} {
		if areaOf(i)+slotOf(i) != uint64(mirror) || areaOf(i)%areaSize != 0 || slotOf(i)%slotSize != 0 {
			t.Errorf("area %#x and slot %#x of thread %d do not find each other", areaOf(i), slotOf(i), i)
		}
	}
}

// hostStatus is a number of /proc/PID/status of a stub.
func hostStatus(t *testing.T, p *Process, key string) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in its status", key)
	return 0
}

// TestLayout_tables counts page tables, by the host: three for the guest's pages at
// codeAt and dataAt, three for the stub, one that is the vDSO's, and one to spare. With
// one for each of the stub's parts, and the first process's stack, there would be ten.
func TestLayout_tables(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(unix.SYS_FORK), call(39)))
	expect(t, th, Syscall)
	const most = 8 * 4 // KiB
	n := hostStatus(t, th.proc, "VmPTE")
	t.Logf("%d KiB", n)
	if n > most {
		t.Errorf("a new process has %d KiB of page tables, want %d at most", n, most)
	}
	child := forked(t, th)
	if n := hostStatus(t, child.proc, "VmPTE"); n > most {
		t.Errorf("its child has %d KiB of page tables, want %d at most", n, most)
	}
	child.Exit(true)
	expect(t, th, Syscall)
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", th.proc.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasSuffix(lines.Text(), "[stack]") {
			t.Errorf("it has the stack of the first process: %s", lines.Text())
		}
	}
}

// More threads than the first page table has room for: each finds its own area and slot,
// and none has the lease's.
func TestLayout_manyThreads(t *testing.T) {
	m := machine(t)
	th := guest(t, m, join(call(unix.SYS_CLONE), []byte{0x85, 0xc0, 0x75, 0xf5}, call(39))) // again, unless it is 0
	expect(t, th, Syscall)
	lease, leased := th.NewLease()
	var threads []*Thread
	for i := range leaseSlot + 6 {
		child, err := th.CloneThread(Birth{Stack: dataAt + 0x1000})
		if err != nil {
			t.Fatal(err)
		}
		if child.index == leaseSlot {
			t.Fatal("a thread has the lease's slot")
		}
		th.Return(1)
		if child.Reports() {
			if err := child.WaitReady(); err != nil {
				t.Fatal(err)
			}
			child.Regs = th.Regs
			child.Regs.RAX = 0
			child.Resume()
		}
		expect(t, child, Syscall)
		if child.Regs.RAX != 39 {
			t.Fatalf("thread %d makes call %d", i, child.Regs.RAX)
		}
		if frame, ok := child.Frame(); !ok {
			t.Fatalf("the frame of thread %d is at %#x, its area at %#x", i, frame, areaOf(child.index))
		}
		threads = append(threads, child)
		expect(t, th, Syscall)
	}
	if leased {
		if h := lease.Holder(); h != LeaseNobody {
			t.Errorf("the lease's lock says %#x", uint32(h))
		}
		lease.End()
	}
	for _, child := range threads {
		child.Exit(false)
	}
	th.Exit(true)
	<-th.proc.dead
}
