// Package platform runs guest code until it needs the kernel.
//
// A guest thread is a host thread, a guest address space is the address space
// of a host process: a stub. A stub holds no file, no name, no identity; above
// the guest's memory it maps a page of code (stub_amd64.s), a table, an area of
// private memory for each thread, and a slot of memory for each thread that it
// shares with the sentry. Its seccomp filter (filter.go) turns every system call
// into SIGSYS; the stub's handler writes the call to the thread's slot and waits
// there for the answer: a result, and a short list of host calls that the
// thread makes before it returns to the guest (answer.go).
//
// The layers below are the host's kernel only. The layers above (mm, task) see
// a Space, its Threads, and the Events that they stop with.
//
// Everything in a slot can be written by the guest at any time: what the sentry
// reads from it is copied once and then checked (slot.go).
package platform

// The layout of a stub's address space above the guest's memory. The filter
// compares the high words of these, so they are multiples of 2^32 where it
// matters: filter.go.
const (
	// base is where the stub's addresses begin, 4 GiB of them.
	base = 0x7ffe_0000_0000

	// All that a process of a few threads touches of the stub lies in one stretch of
	// 2 MiB, and so in one page table: to make, fill and free a page table for a
	// child takes as long as a dozen calls. From middle on come the areas of the first
	// threads, the text, the table, and the slots of the first threads.
	middle = base + 0x1000_0000

	textAt   = middle + 0xf_0000
	textSize = 0x4000
	// table is the argument table (argtable.go) and the start-up data, read-only.
	table     = textAt + 0x8000
	tableSize = 0x8000

	// Each thread has a private area, and a slot that it shares with the sentry:
	// areas go down from the text, the first of them the highest, and slots up from the
	// table. So the addresses of a thread's two add up to mirror.
	areasEnd  = textAt
	areas     = areasEnd - MaxThreads*areaSize // the lowest
	slots     = table + tableSize
	mirror    = areasEnd - areaSize + slots
	areaShift = 16
	areaSize  = 1 << areaShift
	slotSize  = areaSize

	// MaxThreads is how many slots an address space has: threads can have all but one,
	// which is the lease's (lease.go).
	MaxThreads = 4096

	// firstStackEnd is where the stack of a program ends that has a fixed layout, and
	// firstStackMost how much of it the first process lets go of, in bytes; the host
	// keeps all else 128 MiB away from there.
	firstStackEnd  = 0x7fff_ffff_f000
	firstStackMost = 8 << 20

	// GuestTop is the end of the memory that a guest can map, exclusive.
	GuestTop = 0x7ffc_ffff_f000
	// GuestBottom is the lowest address that a guest can map: vm.mmap_min_addr.
	GuestBottom = 0x1_0000

	// altStack is where the signal stack lies in a private area.
	altStackOff  = 0x1000
	altStackSize = areaSize - altStackOff
)

// The descriptors of a stub. A donation (donate.go) sets them.
const (
	fdDoorbell = 1 // eventfd: wakes the sentry
	fdSlots    = 2 // memfd of a new address space, while it is being mapped
	// FirstDonatedFD is where files appear that are to be mapped so that others see
	// what is written, and FirstPrivateFD where all others do, which the filter
	// lets nobody map like that: the sentry's descriptor may write where the guest
	// may not, and a guest can keep what it is donated, and map it by itself.
	FirstDonatedFD = 8
	FirstPrivateFD = FirstDonatedFD + maxDonated
	maxDonated     = 8
	stubFDLimit    = 64
)

// The layout of a slot. Offsets are in bytes; stub_amd64.s uses them too. What a call by the
// fast lane writes lies in as few cache lines as can be, and so does its answer, since each that
// the other core has written last takes as long as a call does natively.
const (
	slotReq        = 0x000 // u32, stub: number of the last request
	slotStubAsleep = 0x004 // u32, stub: sleeps in futex on slotAns
	slotStubCore   = 0x008 // u32, stub: the core that it asked on
	slotAsk        = 0x00c // u32, stub: number of the last request that is one, and not only mail
	// Sockets that the stub reads and writes: pocket.go.
	slotPockets = 0x010 // u32, sentry: there are some
	slotTaken   = 0x014 // u32, stub: something was taken out of one
	slotMail    = 0x018 // u64, both: how many bytes of slotBox are used, and above them a number that changes
	slotKind    = 0x020 // u64, stub: one of the Kind constants
	slotNRanges = 0x028 // u64, stub: how many ranges were copied in
	// slotFastFlags holds the guest's flags on the fast lane: the overflow flag
	// in the first byte, what LAHF gives in the second.
	slotFastFlags = 0x030

	slotAns         = 0x080 // u32, sentry: number of the last answered request
	slotSentrySleep = 0x084 // u32, sentry: ring the doorbell
	slotPatience    = 0x088 // u32, sentry: 1 says that the answer will take long
	slotBirthKick   = 0x08c // u32, sentry: a new thread reports before it goes to the guest
	slotNOps        = 0x090 // u64, sentry: how many host calls come before the result
	slotFlags       = 0x098 // u64, both
	slotResult      = 0x0a0 // u64, both
	slotSentryCore  = 0x0a8 // u32, sentry: the core that it answered on

	slotSigInfo = 0x040 // 32 bytes: the start of the host's siginfo
	slotFrame   = 0x060 // u64: where the host's ucontext lies
	slotTID     = 0x068 // u64: host thread id, of a new thread
	slotFailOp  = 0x070 // u64: index of the host call that failed
	slotFailRes = 0x078 // u64: what it returned
	slotDone    = 0x0d0 // u64: number of the last answer whose host calls are done
	slotKicked  = 0x0d8 // u32, stub: a kick came on the fast lane
	slotAddr    = 0x0e0 // u64, sentry: where the slot lies in the stub, for GS to be known by
	slotLease   = 0x0e8 // u32, sentry: 1 if there is a lease to look at: lease.go
	slotDefault = 0x0f0 // u64, sentry: signals whose action is SIG_DFL and nothing else: faults.go
	slotRegs    = 0x100 // 23 * u64: gregs of the ucontext
	slotRanges  = 0x1c0 // maxRanges * {addr, len, offset} u64

	// CLONE_CHILD_SETTID of the answer's opClone: the address, and what goes there.
	slotBirthTIDPtr = 0x280 // u64
	slotBirthTID    = 0x288 // u64
	slotBirthRIP    = 0x290 // u64, sentry: where the child of the answer's opClone begins
	slotSelf        = 0x298 // selfWords * u64, sentry: what the stub answers itself
	// What rt_sigprocmask in the stub goes by: sigmask.go.
	slotSigPending = 0x2d0 // u64, sentry: signals that may be pending
	slotSigMask    = 0x2d8 // u64, both: the signals that the thread blocks
	slotScratch    = 0x2e0 // 32 bytes, stub: a few words, and a stack for the flags
	slotOps        = 0x300 // maxOps * opSize

	// What the stub answers alone on the trap lane: alone.go.
	slotAlone      = 0xe80 // u32, sentry: it may
	slotAloneCount = 0xe84 // u32, stub: how often it has been asked to
	slotRobust     = 0xe88 // u64, both: the head of the list of robust futexes
	slotRseqArea   = 0xe90 // u64, both: what is registered for rseq(2)
	slotRseqSize   = 0xe98 // u32
	slotRseqSign   = 0xe9c // u32
	// A file that is asked about next: ahead.go.
	slotAhead     = 0xea0 // u64, both: its descriptor, ^0 for none, from bit 32 on how many bytes have been read, and aheadClosed
	slotAheadHave = 0xea8 // u64, sentry: how many bytes of its begin are there
	slotAheadAll  = 0xecc // u32, sentry: they are all
	// A file that is made non-blocking and back: trial.go.
	slotTrial     = 0xec0 // u64, both: its descriptor, ^0 for none, and from bit 32 on its flags
	slotTrialPoll = 0xec8 // u32, sentry: the descriptor of an epoll instance
	slotLimitsSet = 0xeb8 // u32, sentry: changes of slotLimits, twice; odd during one
	slotLimits    = 0xf00 // NumLimits * {soft, hard} u64, sentry

	slotIn        = 0x1000 // what the stub copied in; with pockets, up to the first
	slotPocketed  = 0x2000 // pocketedSize bytes, sentry: what has arrived
	slotBox       = 0x5000 // boxSize bytes, stub: letters
	slotAheadStat = 0x6000 // statSize bytes
	slotAheadData = 0x2000 // AheadSize bytes, sentry: the file's begin, before arguments of a request are

	// What the stub delivers faults by: faults.go.
	slotActionsSet = 0x6500 // u32, sentry: changes of slotActions, twice; odd during one
	slotAltStack   = 0x6508 // stack_t, sentry: sigaltstack(2)
	slotLastFault  = 0x6520 // 3 * u64, both: error code, trap number, address
	slotFPState    = 0x6540 // fpDescribed bytes, sentry: what each frame says of its extended state
	slotPatched    = 0x6580 // patchedBits bits, sentry: pages where addresses are not what they seem
	slotActions    = 0x65c0 // numActions * struct sigaction, sentry

	slotOut = slotActions + numActions*32 // what the stub will copy out

	// Paths that lead to no symbolic link, or nowhere: links.go.
	slotLinks     = 0xed0 // 2 * u32, sentry: the number of the records of either kind that are good; 0 for none
	slotLinkTable = slotSize - linkRecords*linkRecord

	slotPocketTable = slotLinkTable - pocketCount*pocketSize // pocket.go

	maxRanges = 6
	opSize    = 64
	maxOps    = (slotAlone - slotOps) / opSize
	slotInEnd = slotAheadStat
	inSize    = slotInEnd - slotIn
	outSize   = slotPocketTable - slotOut
	// maxCopyIn is what the stub copies of one argument; the sentry fetches
	// longer ones itself. Beyond it process_vm_readv is the faster.
	maxCopyIn = 0x4000
	// stringChunk is how much of a string the stub copies without looking.
	stringChunk = 256
)

// Kinds of request, and of host call in an answer.
const (
	kindSyscall  = 1 // SIGSYS
	kindFault    = 2 // another host signal; kicks are among them
	kindReady    = 3 // a new thread reports
	kindOpFailed = 4 // a host call of the answer failed
	kindFast     = 5 // a call by the fast lane: no ucontext
	kindUpgraded = 6 // the fast lane has become the trap lane, and has one

	opSyscall = 0
	opCopyOut = 1 // to a0, from slot offset a1, a2 bytes
	opZero    = 2 // at a0, a2 bytes
	opClone   = 3 // a0 flags, a1 thread index, a2 token, a3 child tid address, a4 tls, a5 stack
	opResetFP = 4 // a0 the components that the header keeps; a1 those of the processor, on the fast lane
	opSync    = 5 // none of the stub's: it fails, and so reports
	opStore   = 7 // at a0, the 8 bytes a1, at once
	opSwap    = 8 // at a0, the 4 bytes a2 if there are a1: EAGAIN, and slotResult is what there was
	// opCopyState copies between a0 of the guest and offset a1 of the saved
	// extended state, a2 bytes; a3 0 to the guest, 1 from it.
	opCopyState = 6
	// On the fast lane, where the extended state is the processor's: fpstate.go.
	opFlags    = 9  // add the processor's flags of a1 to slot offset a0, and to the registers
	opSaveLive = 10 // to a0 of the guest, the components a1
	opLoadLive = 11 // from a0, the components a1 of a2, the second magic number at offset a3

	opIgnoreError = 1 << 0
	opIsResult    = 1 << 1
	opDirect      = 1 << 2 // of opClone: the child does not report
	opSetGS       = 1 << 3 // of opClone: the child asks the host for its GS base

	ansRegs = 1 << 0 // the registers in the slot replace the thread's
	// ansUpgrade: the fast lane becomes the trap lane, and stops again; with ansRegs,
	// it goes on with them.
	ansUpgrade = 1 << 1
	// ansRelease: the lease's lock is held for the answer, until its host calls are made.
	ansRelease = 1 << 2
)

// kickSignal interrupts a guest thread that runs guest code. Guests never see
// host signals, so that its number is free to choose.
const kickSignal = 23 // SIGURG

// areaOf and slotOf are where what thread number index has lies in every stub.
func areaOf(index int) uint64 { return areasEnd - uint64(index+1)<<areaShift }
func slotOf(index int) uint64 { return slots + uint64(index)<<areaShift }
