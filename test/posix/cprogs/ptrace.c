#include "cprogs.h"

#include <elf.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

/* trace is ptrace(2) as the kernel has it: PTRACE_PEEKDATA writes where data says. */
static long trace(long request, pid_t p, unsigned long addr, unsigned long data)
{
	return syscall(SYS_ptrace, request, p, addr, data);
}

/* stopped waits for p to stop, and says where; the status is given. */
static int stopped(const char *what, pid_t p)
{
	int ws = 0;
	if (waitpid(p, &ws, __WALL) != p) {
		say("%s: no such stop: %s", what, strerrorname_np(errno));
		_exit(1);
	}
	if (WIFSTOPPED(ws))
		say("%s: stopped by %d event %d", what, WSTOPSIG(ws), ws >> 16);
	else
		status(what, ws);
	return ws;
}

static struct user_regs_struct regs_of(pid_t p)
{
	struct user_regs_struct r;
	memset(&r, 0, sizeof r);
	if (trace(PTRACE_GETREGS, p, 0, (unsigned long)&r) != 0)
		err("getregs", -1);
	return r;
}

/* traced starts f in a child that its parent traces, stopped by SIGSTOP. */
static pid_t traced(void (*f)(void))
{
	pid_t p = fork();
	if (p == 0) {
		if (trace(PTRACE_TRACEME, 0, 0, 0) != 0)
			_exit(9);
		raise(SIGSTOP);
		f();
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	return p;
}

static void execs(void)
{
	execl("/proc/self/exe", "cprogs", "+exit", "7", (char *)0);
	_exit(9);
}

static void exec_stop(void)
{
	pid_t p = fork();
	if (p == 0) {
		trace(PTRACE_TRACEME, 0, 0, 0);
		execs();
	}
	stopped("exec", p);
	struct user_regs_struct r = regs_of(p);
	say("in execve %d, result %lld", r.orig_rax == SYS_execve, r.rax);
	err("again", trace(PTRACE_ATTACH, p, 0, 0));
	err("continue", trace(PTRACE_CONT, p, 0, 0));
	stopped("end", p);
	err("gone", trace(PTRACE_CONT, p, 0, 0));
	/* With the option the stop is an event. */
	p = traced(execs);
	err("options", trace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACEEXEC));
	trace(PTRACE_CONT, p, 0, 0);
	stopped("exec", p);
	unsigned long msg = 0;
	err("message", trace(PTRACE_GETEVENTMSG, p, 0, (unsigned long)&msg));
	say("who executed: itself %d", msg == (unsigned long)p);
	trace(PTRACE_CONT, p, 0, 0);
	stopped("end", p);
	err("unknown options", trace(PTRACE_SETOPTIONS, getpid(), 0, 1 << 30));
	err("nobody", trace(PTRACE_PEEKDATA, getpid(), 0, (unsigned long)&msg));
	err("oneself", trace(PTRACE_ATTACH, getpid(), 0, 0));
	err("no such thread", trace(PTRACE_SEIZE, 0x3fffff, 0, 0));
}

static void three_calls(void)
{
	syscall(SYS_getppid);
	syscall(SYS_close, 12345);
	_exit(syscall(SYS_dup, 999) == 77 ? 5 : 6);
}

/* next_call lets p go on to its next stop at a call, and says what it is. */
static struct __ptrace_syscall_info next_call(pid_t p)
{
	struct __ptrace_syscall_info in;
	int ws;
	memset(&in, 0, sizeof in);
	trace(PTRACE_SYSCALL, p, 0, 0);
	waitpid(p, &ws, 0);
	if (!WIFSTOPPED(ws)) {
		status("ended", ws);
		in.op = 99;
		return in;
	}
	long n = trace(PTRACE_GET_SYSCALL_INFO, p, sizeof in, (unsigned long)&in);
	struct user_regs_struct r = regs_of(p);
	say("signal %#x op %d size %ld arch %x pc %d sp %d", WSTOPSIG(ws), in.op, n, in.arch,
		in.instruction_pointer == r.rip, in.stack_pointer == r.rsp);
	return in;
}

static void calls(void)
{
	pid_t p = traced(three_calls);
	trace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACESYSGOOD);
	for (int i = 0;; i++) {
		struct __ptrace_syscall_info in = next_call(p);
		if (in.op == 99)
			break;
		if (in.op == PTRACE_SYSCALL_INFO_ENTRY) {
			say("call %ld of %ld", (long)in.entry.nr, in.entry.nr == SYS_close || in.entry.nr == SYS_dup ? (long)in.entry.args[0] : 0L);
			struct user_regs_struct r = regs_of(p);
			say("rax is ENOSYS %d orig %lld", (long)r.rax == -ENOSYS, r.orig_rax);
			if (in.entry.nr == SYS_close) { /* make another call of it */
				r.orig_rax = SYS_getpid;
				err("another call", trace(PTRACE_SETREGS, p, 0, (unsigned long)&r));
			}
		} else if (in.op == PTRACE_SYSCALL_INFO_EXIT) {
			struct user_regs_struct r = regs_of(p);
			say("error %d", in.exit.is_error);
			if (r.orig_rax == SYS_getpid)
				say("its pid %d", in.exit.rval == p);
			if (r.orig_rax == SYS_dup) { /* another result */
				say("result %ld", (long)in.exit.rval);
				r.rax = 77;
				err("another result", trace(PTRACE_SETREGS, p, 0, (unsigned long)&r));
			}
		}
	}
}

static volatile int touched;

static __attribute__((noinline)) long often(int n)
{
	touched = n;
	return syscall(SYS_getppid) + syscall(SYS_umask, 022) * 0;
}

static void calls_often(void)
{
	for (int i = 0; i < 3; i++)
		often(i);
}

/* A breakpoint in code whose calls have been made often before, and what the
   program's own bytes there are. */
static void breakpoint(void)
{
	for (int i = 0; i < 20000; i++)
		often(i);
	unsigned long at = (unsigned long)often, word = 0;
	pid_t p = traced(calls_often);
	err("peek", trace(PTRACE_PEEKTEXT, p, at, (unsigned long)&word));
	say("as here %d", memcmp(&word, (void *)at, sizeof word) == 0);
	/* The C library's syscall(): the instruction is there. */
	unsigned char code[64];
	int found = 0;
	for (unsigned i = 0; i < sizeof code; i += 8)
		trace(PTRACE_PEEKTEXT, p, (unsigned long)syscall + i, (unsigned long)(code + i));
	for (unsigned i = 0; i + 1 < sizeof code; i++)
		found |= code[i] == 0x0f && code[i + 1] == 0x05;
	say("system call instruction %d", found);
	err("poke", trace(PTRACE_POKETEXT, p, at, (word & ~0xffUL) | 0xcc));
	for (int i = 0; i < 3; i++) {
		trace(PTRACE_CONT, p, 0, 0);
		stopped("breakpoint", p);
		siginfo_t si;
		trace(PTRACE_GETSIGINFO, p, 0, (unsigned long)&si);
		struct user_regs_struct r = regs_of(p);
		say("after it %d argument %lld code %d", r.rip == at + 1, r.rdi, si.si_code);
		r.rip = at;
		trace(PTRACE_SETREGS, p, 0, (unsigned long)&r);
		trace(PTRACE_POKETEXT, p, at, word);
		trace(PTRACE_SINGLESTEP, p, 0, 0);
		stopped("step", p);
		say("moved on %d", regs_of(p).rip != at);
		trace(PTRACE_POKETEXT, p, at, (word & ~0xffUL) | 0xcc);
	}
	err("peek at nothing", trace(PTRACE_PEEKDATA, p, 8, (unsigned long)&word));
	err("poke at nothing", trace(PTRACE_POKEDATA, p, 8, 0));
	trace(PTRACE_CONT, p, 0, 0);
	stopped("end", p);
}

/* Single steps through a system call: each instruction once. */
static void call_to_step(void)
{
	long r;
	__asm__ volatile("int3\n\tmov %1, %%eax\n\tsyscall\n\tnop\n\tnop\n\tmov $1, %%ecx\n\tnop"
		: "=&a"(r) : "i"(SYS_getppid) : "rcx", "r11", "memory");
	_exit(r == getppid() ? 3 : 4);
}

static void steps(void)
{
	pid_t p = traced(call_to_step);
	trace(PTRACE_CONT, p, 0, 0);
	stopped("int3", p);
	unsigned long start = regs_of(p).rip;
	for (int i = 0; i < 6; i++) {
		trace(PTRACE_SINGLESTEP, p, 0, 0);
		int ws;
		waitpid(p, &ws, 0);
		struct user_regs_struct r = regs_of(p);
		siginfo_t si;
		trace(PTRACE_GETSIGINFO, p, 0, (unsigned long)&si);
		say("step to +%lld signal %d code %d trap flag %d", r.rip - start, WSTOPSIG(ws), si.si_code,
			r.eflags & 0x100 ? 1 : 0);
	}
	trace(PTRACE_CONT, p, 0, 0);
	stopped("end", p);
}

static void register_sets(void)
{
	pid_t p = traced(three_calls);
	struct user_regs_struct r, s;
	struct iovec iov = {&r, sizeof r};
	memset(&r, 0, sizeof r);
	err("general", trace(PTRACE_GETREGSET, p, NT_PRSTATUS, (unsigned long)&iov));
	s = regs_of(p);
	say("size %zu alike %d cs %llx ss %llx", iov.iov_len, memcmp(&r, &s, sizeof r) == 0, r.cs, r.ss);
	r.r15 = 0x1234567890;
	err("set", trace(PTRACE_SETREGSET, p, NT_PRSTATUS, (unsigned long)&iov));
	say("r15 %llx", regs_of(p).r15);
	unsigned long word = 0;
	err("one word", trace(PTRACE_PEEKUSER, p, offsetof(struct user, regs.r15), (unsigned long)&word));
	say("%lx", word);
	err("poke it", trace(PTRACE_POKEUSER, p, offsetof(struct user, regs.r15), s.r15));
	err("not a word", trace(PTRACE_PEEKUSER, p, 3, (unsigned long)&word));
	struct user_fpregs_struct f, g;
	err("floating point", trace(PTRACE_GETFPREGS, p, 0, (unsigned long)&f));
	say("mxcsr %x", f.mxcsr);
	f.xmm_space[4] = 0xabcdef;
	err("set", trace(PTRACE_SETFPREGS, p, 0, (unsigned long)&f));
	iov = (struct iovec){&g, sizeof g};
	err("as a set", trace(PTRACE_GETREGSET, p, NT_PRFPREG, (unsigned long)&iov));
	say("size %zu xmm1 %x", iov.iov_len, g.xmm_space[4]);
	static char big[16384] __attribute__((aligned(64)));
	iov = (struct iovec){big, sizeof big};
	err("extended", trace(PTRACE_GETREGSET, p, NT_X86_XSTATE, (unsigned long)&iov));
	say("more than legacy %d xmm1 %x", iov.iov_len > 512, *(int *)(big + 160 + 16));
	iov = (struct iovec){&r, 12};
	err("odd size", trace(PTRACE_GETREGSET, p, NT_PRSTATUS, (unsigned long)&iov));
	err("no such set", trace(PTRACE_GETREGSET, p, 0x7777, (unsigned long)&iov));
	r = regs_of(p);
	r.fs_base = 1UL << 62;
	err("base beyond all", trace(PTRACE_SETREGS, p, 0, (unsigned long)&r));
	trace(PTRACE_KILL, p, 0, 0);
	stopped("end", p);
}

static volatile sig_atomic_t handled;

static void handler(int sig)
{
	handled = handled * 100 + sig;
}

static void signalled(void)
{
	signal(SIGUSR1, handler);
	signal(SIGUSR2, handler);
	raise(SIGUSR1);
	raise(SIGUSR1);
	raise(SIGUSR1);
	_exit(handled == 1012 ? 3 : 4);
}

/* A signal is passed on, taken away, replaced by another. */
static void injects(void)
{
	pid_t p = traced(signalled);
	trace(PTRACE_CONT, p, 0, 0);
	stopped("first", p);
	siginfo_t si;
	err("siginfo", trace(PTRACE_GETSIGINFO, p, 0, (unsigned long)&si));
	say("signo %d code %d from itself %d", si.si_signo, si.si_code, si.si_pid == p);
	err("not a signal", trace(PTRACE_CONT, p, 0, 500));
	trace(PTRACE_CONT, p, 0, SIGUSR1);
	stopped("second, taken away", p);
	unsigned long mask = 0;
	err("mask", trace(0x420a, p, 8, (unsigned long)&mask));
	say("mask %lx", mask);
	trace(PTRACE_CONT, p, 0, 0);
	stopped("third, replaced", p);
	trace(PTRACE_CONT, p, 0, SIGUSR2);
	stopped("end", p);
	/* One that kills. */
	p = traced(signalled);
	trace(PTRACE_CONT, p, 0, SIGTERM);
	stopped("killed", p);
}

static void *thread_ends(void *arg)
{
	return arg;
}

static void makes_children(void)
{
	int ws;
	pid_t c = fork();
	if (c == 0)
		_exit(11);
	waitpid(c, &ws, 0);
	c = vfork();
	if (c == 0)
		_exit(12);
	waitpid(c, &ws, 0);
	pthread_t t;
	pthread_create(&t, 0, thread_ends, 0);
	pthread_join(t, 0);
	_exit(13);
}

/* Events of fork, vfork, clone and exit. Which thread is first differs, so that
   each one's are counted apart. */
static void events(void)
{
	pid_t p = traced(makes_children), seen[16];
	int n = 0, news[16] = {0}, counts[8] = {0}, ends = 0, firsts = 0, statuses = 0;
	trace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
		PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL);
	trace(PTRACE_CONT, p, 0, 0);
	for (;;) {
		int ws;
		pid_t w = waitpid(-1, &ws, __WALL);
		if (w == -1)
			break;
		if (!WIFSTOPPED(ws)) {
			ends++;
			if (w == p)
				status("the first", ws);
			continue;
		}
		int event = ws >> 16, sig = 0;
		unsigned long msg = 0;
		if (event > 0 && event < 8) {
			counts[event]++;
			trace(PTRACE_GETEVENTMSG, w, 0, (unsigned long)&msg);
			if (event == PTRACE_EVENT_EXIT)
				statuses += msg >> 8;
			else if (event != PTRACE_EVENT_VFORK_DONE && n < 16)
				seen[n++] = msg;
		} else if (WSTOPSIG(ws) == SIGSTOP) {
			firsts++;
			if (firsts < 16)
				news[firsts] = w;
		} else {
			sig = WSTOPSIG(ws);
		}
		trace(PTRACE_CONT, w, 0, sig);
	}
	say("fork %d vfork %d clone %d done %d exit %d ends %d statuses %d", counts[PTRACE_EVENT_FORK], counts[PTRACE_EVENT_VFORK],
		counts[PTRACE_EVENT_CLONE], counts[PTRACE_EVENT_VFORK_DONE], counts[PTRACE_EVENT_EXIT], ends, statuses);
	int known = 0;
	for (int i = 0; i < n; i++)
		for (int k = 1; k <= firsts; k++)
			known += seen[i] == news[k];
	say("stopped first %d, as told %d", firsts, known);
}

static int tell[2];

static void *spins(void *arg)
{
	if (write(tell[1], "", 1) != 1)
		_exit(9);
	for (;;)
		syscall(SYS_getppid);
	return arg;
}

/* A process of three threads that all run, which says when they do. */
static pid_t threads(pid_t tids[3])
{
	if (pipe(tell) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		pthread_t t;
		for (int i = 0; i < 2; i++)
			pthread_create(&t, 0, spins, 0);
		spins(0);
	}
	char c;
	for (int i = 0; i < 3; i++)
		if (read(tell[0], &c, 1) != 1)
			_exit(9);
	/* Their ids follow each other in both places only by chance: from proc. */
	char path[64], buf[64];
	int n = 0;
	for (pid_t t = p; n < 3 && t < p + 1000; t++) {
		snprintf(path, sizeof path, "/proc/%d/task/%d/comm", p, t);
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, buf, sizeof buf) > 0)
			tids[n++] = t;
		close(fd);
	}
	say("threads %d", n);
	return p;
}

static void attach(void)
{
	pid_t tids[3];
	pid_t p = threads(tids);
	for (int i = 0; i < 3; i++) {
		err("attach", trace(PTRACE_ATTACH, tids[i], 0, 0));
		stopped("attached", tids[i]);
		struct user_regs_struct r = regs_of(tids[i]);
		say("registers %d", r.rip != 0 && r.rsp != 0);
		unsigned long word;
		err("its code", trace(PTRACE_PEEKTEXT, tids[i], r.rip, (unsigned long)&word));
	}
	for (int i = 0; i < 3; i++)
		err("detach", trace(PTRACE_DETACH, tids[i], 0, 0));
	err("not traced", trace(PTRACE_CONT, p, 0, 0));
	/* It runs on, and can be attached to again. */
	err("again", trace(PTRACE_ATTACH, tids[1], 0, 0));
	stopped("attached", tids[1]);
	err("detach with a signal", trace(PTRACE_DETACH, tids[1], 0, SIGTERM));
	stopped("end", p);
}

static void seize(void)
{
	pid_t p = fork();
	if (p == 0)
		for (;;)
			pause();
	err("seize", trace(PTRACE_SEIZE, p, 0, PTRACE_O_TRACESYSGOOD));
	err("not stopped", trace(PTRACE_CONT, p, 0, 0));
	err("interrupt", trace(PTRACE_INTERRUPT, p, 0, 0));
	stopped("interrupted", p);
	err("listen in no group-stop", trace(PTRACE_CONT, p, 0, 0));
	kill(p, SIGSTOP);
	stopped("the signal", p);
	trace(PTRACE_CONT, p, 0, SIGSTOP);
	stopped("group-stop", p);
	err("listen", trace(PTRACE_LISTEN, p, 0, 0));
	err("listens", trace(PTRACE_CONT, p, 0, 0));
	kill(p, SIGCONT);
	stopped("going on", p);
	trace(PTRACE_CONT, p, 0, 0);
	stopped("SIGCONT", p);
	trace(PTRACE_CONT, p, 0, SIGCONT);
	err("interrupt", trace(PTRACE_INTERRUPT, p, 0, 0));
	stopped("interrupted", p);
	err("detach", trace(PTRACE_DETACH, p, 0, 0));
	kill(p, SIGTERM);
	stopped("end", p);
	err("interrupt of nobody's", trace(PTRACE_INTERRUPT, getpid(), 0, 0));
}

/* EXITKILL: what is traced ends with its tracer; and without it runs on. */
static void exit_kill(void)
{
	for (int with = 1; with >= 0; with--) {
		int alive[2], end[2];
		if (pipe(alive) != 0 || pipe(end) != 0)
			_exit(1);
		pid_t tracer = fork();
		if (tracer == 0) {
			pid_t p = fork();
			if (p == 0) {
				char c;
				close(end[1]);
				if (read(end[0], &c, 1) < 0)
					_exit(1);
				if (write(alive[1], "x", 1) != 1)
					_exit(1);
				_exit(0);
			}
			trace(PTRACE_SEIZE, p, 0, with ? PTRACE_O_EXITKILL : 0);
			_exit(0);
		}
		int ws;
		char c;
		waitpid(tracer, &ws, 0);
		close(alive[1]);
		close(end[0]);
		if (with) /* its end closes the pipe */
			say("nothing comes: %zd", read(alive[0], &c, 1));
		close(end[1]);
		say("in the end: %zd", read(alive[0], &c, 1));
		close(alive[0]);
	}
}

const struct row ptrace_rows[] = {
	{"ptrace.exec", exec_stop},
	{"ptrace.calls", calls},
	{"ptrace.breakpoint", breakpoint},
	{"ptrace.step", steps},
	{"ptrace.sets", register_sets},
	{"ptrace.signals", injects},
	{"ptrace.events", events},
	{"ptrace.attach", attach},
	{"ptrace.seize", seize},
	{"ptrace.exitkill", exit_kill},
	{0, 0},
};
