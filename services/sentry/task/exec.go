package task

import (
	"encoding/binary"
	"path"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/loader"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// ExecArgs is what execve(2) asks for.
type ExecArgs struct {
	File *vfs.File // the program, open for reading; the caller keeps its reference
	Path string    // as given
	// OutOfReach: Path goes by a descriptor that the program will not have.
	OutOfReach bool
	Argv       []string
	Envv       []string
}

// program is a loaded image on its way into memory.
type program struct {
	image                    *loader.Image
	files                    []mm.ProgramFile
	place                    loader.Placement
	loads                    []mm.Load
	rights                   rights
	creds                    *vfs.Creds
	secure                   bool // the program has more power than its caller: AT_SECURE
	stackLow, stackHigh, top mm.Addr
}

// OpenExecutable opens a program or an interpreter: EACCES unless it is a
// regular file that the caller may execute.
func (t *Task) OpenExecutable(start vfs.Path, name string, how vfs.WalkFlags) (*vfs.File, error) {
	p, err := vfs.Walk(t, t.FS().Root(), start, name, how)
	if err != nil {
		return nil, err
	}
	return t.OpenExecutablePath(p)
}

// OpenExecutablePath is OpenExecutable of a place that was found already.
func (t *Task) OpenExecutablePath(p vfs.Path) (*vfs.File, error) {
	a, err := vfs.Stat(t, p)
	if err != nil {
		return nil, err
	}
	if a.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, linux.EACCES
	}
	if err := vfs.Access(t, p, 1); err != nil {
		return nil, err
	}
	if p.Mount.Flags()&vfs.MountNoExec != 0 {
		return nil, linux.EACCES
	}
	return vfs.OpenToRun(vfs.WithCreds(t, vfs.RootCreds()), p)
}

// Exec is execve(2). Up to an error the caller goes on as it was.
func (t *Task) Exec(a ExecArgs) error {
	p, err := t.prepare(a)
	if err != nil {
		return err
	}
	defer p.image.Close(t)
	if err := t.aloneInGroup(); err != nil {
		return err
	}
	if err := t.enter(p); err != nil {
		// The old program is gone: there is nobody to tell.
		t.k.logf("pid %d: exec %s: %v", t.tid, a.Path, err)
		t.k.kill(t.group, uint32(linux.SIGKILL))
	}
	return nil
}

// prepare does what can fail without harm.
func (t *Task) prepare(a ExecArgs) (*program, error) {
	image, err := loader.Load(t, loader.Request{
		File: a.File, Path: a.Path, OutOfReach: a.OutOfReach, Argv: a.Argv, Envv: a.Envv,
		Open: func(name string) (*vfs.File, error) { return t.OpenExecutable(t.FS().Cwd(), name, 0) },
	})
	if err != nil {
		return nil, err
	}
	p := &program{image: image}
	if err := p.fill(t); err != nil {
		image.Close(t)
		return nil, err
	}
	return p, nil
}

func (p *program) fill(t *Task) error {
	parts := []*loader.Program{p.image.Exe}
	if p.image.Interp != nil {
		parts = append(parts, p.image.Interp)
	}
	for _, part := range parts {
		m, ok := part.File.Impl().(vfs.Mapper)
		if !ok {
			return linux.EACCES
		}
		fd, off, err := m.MapFD(t, false, false)
		if err != nil {
			return err
		}
		b, err := BackingOf(t, part.File)
		if err != nil {
			return err
		}
		p.files = append(p.files, mm.ProgramFile{FD: fd, HostOff: off, Backing: b})
	}
	var err error
	if p.rights, err = rightsOf(t, p.image); err != nil {
		return err
	}
	random := mm.RandomPages
	if t.Personality()&linux.ADDR_NO_RANDOMIZE != 0 && !p.rights.setsID() {
		random = func(uint64) uint64 { return 0 }
	}
	p.stackLow, p.stackHigh, p.top = mm.Layout(t.group.Limit(unix.RLIMIT_STACK).Cur, random)
	if p.place, p.loads, err = p.image.Place(random, p.top); err != nil {
		return err
	}
	p.place.Brk += random(1 << 13)
	if n := argumentSize(p.image); n > maxArguments || n > (p.stackHigh-p.stackLow)/4 {
		return linux.E2BIG
	}
	return nil
}

const maxArguments = 6 << 20 // in bytes, as Linux: 3/4 of _STK_LIM

func argumentSize(im *loader.Image) uint64 {
	n := uint64(0)
	for _, list := range [][]string{im.Argv, im.Envv} {
		for _, s := range list {
			n += uint64(len(s)) + 9
		}
	}
	return n
}

// BackingOf describes an open file as the backing of a mapping.
func BackingOf(ctx vfs.Context, f *vfs.File) (*mm.Backing, error) {
	a, err := f.Attr(ctx)
	if err != nil {
		return nil, err
	}
	b := &mm.Backing{Path: f.Path(), Dev: a.Dev, Ino: a.Ino}
	if b.Path.IsZero() {
		b.Name = f.Name()
	}
	return b, nil
}

// aloneInGroup ends the other threads and takes over the leader's id.
func (t *Task) aloneInGroup() error {
	k, g := t.k, t.group
	k.mu.Lock()
	if g.exiting || g.execing != nil {
		k.mu.Unlock()
		return linux.ERESTARTNOINTR
	}
	if len(g.tasks) == 1 && g.leader == t {
		k.mu.Unlock()
		return nil
	}
	g.execing = t
	others := without(g.tasks, t)
	k.mu.Unlock()
	for _, o := range others {
		o.killed.Store(true)
		o.wake()
		o.stir()
	}
	for _, o := range others {
		t.shed()
		<-o.exited
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g.execing = nil
	if g.leader != t {
		was := t.tid
		delete(k.tasks, was)
		k.dropLocked(was)
		t.tid = g.pid
		k.tasks[t.tid] = t
		g.leader = t
		g.countLocked()
	}
	return nil
}

// enter puts the program into memory and sets everything to how a new program
// finds it. The answer that carries it out is not given yet.
func (t *Task) enter(p *program) error {
	g := t.group
	t.runRobustList()
	t.leavePI(false)
	// A program with more power than its caller gets a process that the caller
	// cannot have left a thread in, by a jump into the stub. It has the power before
	// it has the process: who has come to know that may not have been looked at for less.
	if gains := t.assume(p); gains || t.th.SharesMemory() {
		th, err := t.k.Machine.NewSpace()
		if err != nil {
			return err
		}
		old := t.th
		t.keepMask()
		t.setThread(th)
		old.Exit(true)
	} else if space := t.mm.Load(); space != nil {
		space.StopDelegating() // what its lease is in becomes the new one's
		t.th.ForgetPatched()
	}
	t.th.SetRobust(0)
	t.SetDispatch(nil)
	t.clearDebug()
	space := mm.New()
	space.Inherit(t.MM())
	if old := t.mm.Swap(space); old != nil {
		old.DecUsers()
	}
	if ft := t.fds.Load(); ft.Shared() {
		t.fds.Store(ft.Fork())
		ft.release(exitContext(t))
	}
	closeAll(t, t.fds.Load().removeIf(func(_ linux.FD, s fdSlot) bool { return s.closeOnExec }))
	g.resetActions()
	g.timers.stopPosix()
	t.altStack = linux.StackT{Flags: t.altStack.Flags} // which Linux keeps
	t.SetName(path.Base(p.image.ExecPath))
	t.k.mu.Lock()
	g.didExec = true
	t.k.mu.Unlock()
	err := t.order(space, p)
	t.letGo()
	return err
}

// order puts the whole of it into the answer.
func (t *Task) order(space *mm.Space, p *program) error {
	th := t.th
	t.tellSelf()
	st := t.buildStack(p)
	th.TryHostCall(unix.SYS_SET_TID_ADDRESS, 0)
	t.dropRseq()
	const archSetFS = 0x1002
	th.TryHostCall(unix.SYS_ARCH_PRCTL, archSetFS, 0)
	th.SetGS(0)
	th.ResetFP()
	err := space.Exec(th, mm.Program{
		Loads: p.loads, Files: p.files, Exe: p.image.Exe.File.Path(), Text: p.image.Exe.File.Text(), Brk: p.place.Brk,
		CodeStart: p.place.CodeStart, CodeEnd: p.place.CodeEnd,
		StackLow: p.stackLow, StackHigh: p.stackHigh, ExecStack: p.place.ExecStack, Top: p.top,
		ArgStart: st.argStart, ArgEnd: st.argEnd, EnvEnd: st.envEnd, StackPointer: st.sp, Auxv: st.auxv,
		VDSOStart: t.k.Machine.VDSO, VDSOEnd: t.k.Machine.VDSOEnd,
	})
	if err != nil {
		return err
	}
	if t.answersItself() && !t.Traced() {
		space.Limit(mm.Limits{Size: t.group.Limit(unix.RLIMIT_AS).Cur, Data: t.group.Limit(unix.RLIMIT_DATA).Cur})
		space.Delegate()
	}
	if !th.CopyOut(st.sp, st.bytes) {
		// Too long for the answer: map first, then write.
		if err := t.settle(); err != nil {
			return err
		}
		if err := t.CopyOut(st.sp, st.bytes); err != nil {
			return err
		}
	}
	th.Regs = platform.Regs{RIP: p.place.Entry, RSP: st.sp, EFlags: 0x202, Segments: platform.UserSegments}
	t.setRegs()
	return nil
}

// settle has the host calls of the answer made now.
func (t *Task) settle() error {
	t.th.Sync()
	regs := t.th.Regs
	t.th.Return(0)
	ev := t.th.NextDue()
	t.th.Regs = regs
	if ev.Kind == platform.CallFailed && ev.Err == linux.EINVAL {
		return nil
	}
	return linux.ENOMEM
}

// setThread gives the task another host thread.
func (t *Task) setThread(th *platform.Thread) {
	t.emptyPockets()
	t.th = th
	t.host.Store(th)
	t.listen(th)
}

// resetActions gives caught signals their default action, as execve(2) and
// CLONE_CLEAR_SIGHAND do, for the process alone.
func (g *Group) resetActions() {
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	g.handlers = g.handlers.fork()
	for i := range g.handlers.table {
		a := &g.handlers.table[i]
		if a.Handler != linux.SIG_IGN {
			a.Handler = linux.SIG_DFL
		}
		*a = linux.SigAction{Handler: a.Handler}
	}
}

// initialStack is a new program's stack: argc, argv, envp, the auxiliary vector
// and their strings.
type initialStack struct {
	sp                       mm.Addr
	bytes                    []byte // from sp up
	argStart, argEnd, envEnd mm.Addr
	auxv                     []byte
}

func (t *Task) buildStack(p *program) initialStack {
	im := p.image
	top := p.stackHigh - 8
	// The strings, from the highest address down: the path, the environment, the
	// arguments; below them the processor's name and the random bytes.
	var strings []byte
	add := func(s string) uint64 {
		at := uint64(len(strings))
		strings = append(append(strings, s...), 0)
		return at
	}
	var argAt, envAt []uint64
	for _, s := range im.Argv {
		argAt = append(argAt, add(s))
	}
	argLen := uint64(len(strings))
	for _, s := range im.Envv {
		envAt = append(envAt, add(s))
	}
	envLen := uint64(len(strings))
	execAt := add(im.ExecPath)
	base := top - uint64(len(strings))
	const extra = 16 + 8 // AT_RANDOM, AT_PLATFORM
	low := (base - extra) &^ 15
	random := low
	name := low + 16

	auxv := t.auxv(p, random, name, base+execAt)
	words := 1 + len(argAt) + 1 + len(envAt) + 1
	sp := (low - uint64(8*words) - uint64(len(auxv))) &^ 15
	buf := make([]byte, top+8-sp)
	le := binary.LittleEndian
	w := buf
	put := func(v uint64) { le.PutUint64(w, v); w = w[8:] }
	put(uint64(len(argAt)))
	for _, a := range argAt {
		put(base + a)
	}
	put(0)
	for _, a := range envAt {
		put(base + a)
	}
	put(0)
	copy(w, auxv)
	fillRandom(buf[random-sp:][:16])
	copy(buf[name-sp:], "x86_64\x00")
	copy(buf[base-sp:], strings)
	return initialStack{sp: sp, bytes: buf, argStart: base, argEnd: base + argLen, envEnd: base + envLen, auxv: auxv}
}

// auxv is the auxiliary vector: getauxval(3).
func (t *Task) auxv(p *program, random, platformName, execName mm.Addr) []byte {
	const (
		atPhdr, atPhent, atPhnum, atPagesz, atBase, atFlags, atEntry       = 3, 4, 5, 6, 7, 8, 9
		atUID, atEUID, atGID, atEGID, atPlatform, atHWCap, atClkTck        = 11, 12, 13, 14, 15, 16, 17
		atSecure, atRandom, atHWCap2, atExecFn, atSysinfoEhdr, atMinSigStk = 23, 25, 26, 31, 33, 51
	)
	m, c := t.k.Machine, p.creds
	ns := c.UserNS
	secure := uint64(0)
	if p.secure {
		secure = 1
	}
	list := [][2]uint64{
		{atSysinfoEhdr, m.VDSO}, {atMinSigStk, m.MinSigStack}, {atHWCap, m.HWCap}, {atPagesz, mm.PageSize}, {atClkTck, 100},
		{atPhdr, p.place.Phdr}, {atPhent, 56}, {atPhnum, uint64(p.place.Phnum)}, {atBase, p.place.Base}, {atFlags, 0},
		{atEntry, p.place.ProgEntry}, {atUID, uint64(ns.ShowUID(c.UID))}, {atEUID, uint64(ns.ShowUID(c.EUID))}, {atGID, uint64(ns.ShowGID(c.GID))},
		{atEGID, uint64(ns.ShowGID(c.EGID))}, {atSecure, secure}, {atRandom, random}, {atHWCap2, m.HWCap2},
		{atExecFn, execName}, {atPlatform, platformName}, {0, 0},
	}
	var out []byte
	for _, e := range list {
		out = binary.LittleEndian.AppendUint64(out, e[0])
		out = binary.LittleEndian.AppendUint64(out, e[1])
	}
	return out
}

func fillRandom(p []byte) {
	for len(p) > 0 {
		n, err := unix.Getrandom(p, 0)
		if err != nil && err != unix.EINTR {
			return
		}
		p = p[max(n, 0):]
	}
}
