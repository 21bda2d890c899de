package platform

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func stub()
func stubAddress() unsafe.Pointer

// core is the number of the host's core that this runs on, as the kernel keeps it
// for the vDSO's getcpu(2), with the node's number above bit 12.
func core() uint32

// awaitChange polls *word up to n times, with a PAUSE after each, until it is not
// old any more, and says whether it is not. n bounds how long the goroutine
// cannot be preempted.
//
//go:noescape
func awaitChange(word *uint32, old, n uint32) bool

// Offsets in the table page, after the argument table.
const (
	tableOne     = tableCalls * rowSize    // u64 1, for the doorbell
	tableStack   = tableOne + 0x10         // stack_t of area 0
	tableSignals = tableOne + 0x40         // {signal, address of its sigaction}..., 0
	tableActions = tableOne + 0x100        // struct sigaction of the kernel
	tableLimits  = tableOne + 0x280        // {resource, soft, hard}..., -1
	tableMarks   = tableOne + 0x300        // addresses in the stub's text: marks
	tableLanes   = tableOne + 0x400        // a byte for each call: lanes
	tableAlone   = tableLanes + tableCalls // a byte for each call: alone.go
	tableInit    = tableAlone + tableCalls // the extended state of a new program, for XRSTOR
	tableFilter  = tableInit + initSize    // struct sock_fprog, then the program
	initSize     = FPLegacySize + 64       // with the header
	actionSize   = 32
)

// handled are the host signals that a stub catches: the trap, the kick, and the
// faults that guest code can cause.
var handled = []unix.Signal{
	unix.SIGSYS, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, kickSignal,
}

// limits are the stub's own; a guest's are the sentry's affair. That of processes and
// threads is of all that have the stubs' user, also of those that the sentry does not
// know: it leaves the host enough for everybody else.
func limits() [][3]uint64 {
	tasks := MostTasks()
	return [][3]uint64{
		{unix.RLIMIT_NOFILE, stubFDLimit, stubFDLimit},
		{unix.RLIMIT_CORE, 0, 0},
		{unix.RLIMIT_MEMLOCK, 0, 0},
		{unix.RLIMIT_NPROC, tasks, tasks},
		{^uint64(0)},
	}
}

// MostTasks is how many threads all guests together can have. It is to be asked while
// files of the host can still be opened.
func MostTasks() uint64 {
	return mostTasks(hostNumber("/proc/sys/kernel/pid_max"), hostNumber("/proc/sys/kernel/threads-max"))
}

// mostTasks is half of what the host can have, of which 0 is unknown, and never more
// than a whole Linux has by default.
func mostTasks(pids, threads uint64) uint64 {
	most := uint64(32768)
	for _, n := range []uint64{pids, threads} {
		if n > 0 {
			most = min(most, n/2)
		}
	}
	return most
}

// hostNumber reads a file of /proc/sys: 0 if it cannot be read.
func hostNumber(path string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}

const pageSize = 0x1000

// stubEnd marks the end of the stub's text in stub_amd64.s.
var stubEnd = []byte("Bulkhead\x90\x90\x90\x90\x90\x90\x90\x90")

// stubText gives the machine code of the stub.
func stubText() ([]byte, error) {
	code := unsafe.Slice((*byte)(stubAddress()), textSize)
	n := bytes.Index(code, stubEnd)
	if n < 0 {
		return nil, errors.New("platform: the stub's end is not where the linker should have put it")
	}
	return append([]byte(nil), code[:n]...), nil
}

// The marks, as offsets in tableMarks, and markGSBase: not 0 where user code may
// write the GS base.
const (
	markFast     = 8 * iota // where the fast lane is entered
	markUpgrade             // after its INT3
	markFinal               // its last instructions, which can start again
	markFinalEnd            //
	markSelf                // answering without the sentry, which can start again
	markSelfEnd             //
	markRegs                // the last instructions with all registers, which can start again
	markRegsEnd             //
	markGSBase
)

// markTexts are the bytes that stand beside each mark, and whether the mark is
// after them.
var markTexts = map[int]struct {
	text  string
	after bool
}{
	markFast: {"FastLane", true}, markUpgrade: {"Upgrade!", false}, markFinal: {"FinalRun", true},
	markFinalEnd: {"FinalEnd", false}, markSelf: {"SelfCall", true}, markSelfEnd: {"SelfDone", false},
	markRegs: {"FinalAll", true}, markRegsEnd: {"AllRegsE", false},
}

// encodeMarks finds the marks in the stub's text.
func encodeMarks(p, text []byte) error {
	for at, m := range markTexts {
		i := bytes.Index(text, []byte(m.text))
		if i < 0 || bytes.LastIndex(text, []byte(m.text)) != i {
			return fmt.Errorf("platform: the stub's text has no single mark %q", m.text)
		}
		if m.after {
			i += len(m.text)
		}
		binary.LittleEndian.PutUint64(p[at:], textAt+uint64(i))
	}
	return nil
}

// zygoteImage is a static ELF program of the stub's text and table, to be
// executed once: the ancestor of all stubs. gsBase says whether user code may write
// the GS base.
func zygoteImage(gsBase, verified bool) ([]byte, error) {
	text, err := stubText()
	if err != nil {
		return nil, err
	}
	data, err := tableImage(text, gsBase, verified)
	if err != nil {
		return nil, err
	}
	const page = pageSize
	var b bytes.Buffer
	head := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Entry: textAt, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 3,
	}
	copy(head.Ident[:], elf.ELFMAG)
	head.Ident[elf.EI_CLASS], head.Ident[elf.EI_DATA], head.Ident[elf.EI_VERSION] = 2, 1, 1
	progs := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: page, Vaddr: textAt, Filesz: textSize, Memsz: textSize, Align: page},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Off: page + textSize, Vaddr: table, Filesz: tableSize, Memsz: tableSize, Align: page},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)},
	}
	for _, v := range []any{head, progs} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, fmt.Errorf("platform: encode zygote: %w", err)
		}
	}
	img := make([]byte, page+textSize+tableSize)
	copy(img, b.Bytes())
	copy(img[page:], text)
	copy(img[page+textSize:], data)
	return img, nil
}

// tableImage is the read-only page beside the text.
func tableImage(text []byte, gsBase, verified bool) ([]byte, error) {
	p := make([]byte, tableSize)
	le := binary.LittleEndian
	encodeArgTable(p)
	encodeLanes(p[tableLanes:])
	encodeAlone(p[tableAlone:], verified)
	if err := encodeMarks(p[tableMarks:], text); err != nil {
		return nil, err
	}
	if gsBase {
		p[tableMarks+markGSBase] = 1
	}
	le.PutUint64(p[tableOne:], 1)
	le.PutUint16(p[tableInit:], 0x37f)     // x87's control word
	le.PutUint32(p[tableInit+24:], 0x1f80) // MXCSR
	le.PutUint64(p[tableStack:], areaOf(0)+altStackOff)
	le.PutUint64(p[tableStack+16:], altStackSize)
	for i, sig := range handled {
		action := tableActions + i*actionSize
		le.PutUint64(p[tableSignals+16*i:], uint64(sig))
		le.PutUint64(p[tableSignals+16*i+8:], uint64(table+action))
		const saSiginfo, saOnstack, saRestorer, saRestart, saNodefer = 4, 0x0800_0000, 0x0400_0000, 0x1000_0000, 0x4000_0000
		flags := uint64(saSiginfo | saOnstack | saRestorer | saRestart)
		if sig != kickSignal && sig != unix.SIGSYS {
			flags |= saNodefer // a copy may fault while a fault is being answered
		}
		le.PutUint64(p[action:], textAt)
		le.PutUint64(p[action+8:], flags)
		le.PutUint64(p[action+16:], textAt) // never returned to
		le.PutUint64(p[action+24:], 1<<(kickSignal-1))
	}
	for i, l := range limits() {
		for k, v := range l {
			le.PutUint64(p[tableLimits+24*i+8*k:], v)
		}
	}
	prog, err := bpf.Assemble(filterProgram(verified))
	if err != nil {
		return nil, fmt.Errorf("platform: assemble the stub's filter: %w", err)
	}
	if tableFilter+16+8*len(prog) > tableSize {
		return nil, errors.New("platform: the stub's filter is too long")
	}
	le.PutUint16(p[tableFilter:], uint16(len(prog)))
	le.PutUint64(p[tableFilter+8:], table+tableFilter+16)
	for i, in := range prog {
		q := p[tableFilter+16+8*i:]
		le.PutUint16(q, in.Op)
		q[2], q[3] = in.Jt, in.Jf
		le.PutUint32(q[4:], in.K)
	}
	return p, nil
}
