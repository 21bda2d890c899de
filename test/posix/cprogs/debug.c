/* The debug registers of a traced thread, and other requests of ptrace(2) that are new. */
#include "cprogs.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define DR(n) ((void *)(offsetof(struct user, u_debugreg) + (n) * 8))

static volatile long watched[4];
static volatile int other;

__attribute__((noinline)) static void here(int n)
{
	other += n;
	__asm__ volatile("" ::: "memory");
}

static long peek(pid_t p, int n)
{
	errno = 0;
	return ptrace(PTRACE_PEEKUSER, p, DR(n), 0);
}

static void poke(pid_t p, const char *what, int n, unsigned long v)
{
	err(what, ptrace(PTRACE_POKEUSER, p, DR(n), (void *)v));
}

/* control is DR7 with register n enabled, for a kind and a length as it encodes them. */
static unsigned long control(int n, int kind, int len)
{
	return 1ul << 2 * n | (unsigned long)(kind | len << 2) << (16 + 4 * n);
}

enum { EXEC, WRITE, IO, BYTE = 0, WORD, EIGHT, FOUR };

static void child(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	for (int i = 0; i < 20; i++)
		other += i;
	watched[1] = 5;
	watched[0] = 1;
	here(1);
	for (int i = 0; i < 20; i++)
		other += i;
	if (fork() == 0) {
		watched[0] = 77; /* is not watched in a child */
		_exit(0);
	}
	wait(0);
	int p[2];
	pipe(p);
	long v = 9;
	write(p[1], &v, sizeof v);
	read(p[0], (void *)watched, sizeof v);
	here(2);
	watched[0] = 10;
	_exit(3);
}

static int until(pid_t p, const char *what)
{
	int ws;
	siginfo_t i;
	do {
		ptrace(PTRACE_CONT, p, 0, 0);
		waitpid(p, &ws, 0);
	} while (WIFSTOPPED(ws) && WSTOPSIG(ws) == SIGCHLD);
	status(what, ws);
	if (!WIFSTOPPED(ws))
		return 0;
	ptrace(PTRACE_GETSIGINFO, p, 0, &i);
	say("  code %d, dr6 %lx, watched %ld %ld", i.si_code, peek(p, 6) & 0x400f, ptrace(PTRACE_PEEKDATA, p, &watched[0], 0),
	    ptrace(PTRACE_PEEKDATA, p, &watched[1], 0));
	return 1;
}

static pid_t begun(void (*f)(void))
{
	int ws;
	pid_t p = fork();
	if (p == 0)
		f();
	waitpid(p, &ws, 0);
	status("begun", ws);
	return p;
}

static void watches(void)
{
	pid_t p = begun(child);
	for (int n = 0; n < 8; n++)
		say("dr%d %lx", n, peek(p, n));
	poke(p, "address", 0, (unsigned long)&watched[0]);
	poke(p, "control", 7, control(0, WRITE, EIGHT));
	say("%lx %lx", peek(p, 0) - (unsigned long)&watched[0], peek(p, 7));
	until(p, "written");
	poke(p, "status", 6, 0);
	say("%lx", peek(p, 6));
	until(p, "by the kernel, for it");
	until(p, "written again");
	until(p, "over");

	p = begun(child);
	poke(p, "address", 3, (unsigned long)here);
	poke(p, "address", 1, (unsigned long)&watched[1]);
	poke(p, "control", 7, control(3, EXEC, BYTE) | control(1, WRITE, FOUR));
	struct user_regs_struct r;
	while (until(p, "next")) {
		ptrace(PTRACE_GETREGS, p, 0, &r);
		say("  at it: %d", r.rip == (unsigned long)here);
	}

	p = begun(child);
	poke(p, "address", 0, (unsigned long)&watched[0]);
	poke(p, "control", 7, control(0, WRITE, EIGHT));
	poke(p, "none again", 7, 0);
	until(p, "not watched");
}

static void badly(void)
{
	pid_t p = begun(child);
	poke(p, "dr4", 4, 0);
	poke(p, "dr5", 5, 1);
	poke(p, "the kernel's", 0, -4096ul);
	poke(p, "odd", 0, (unsigned long)&watched[0] + 1);
	poke(p, "a word there", 7, control(0, WRITE, WORD));
	poke(p, "a byte there", 7, control(0, WRITE, BYTE));
	poke(p, "odd for none", 0, (unsigned long)&watched[0] + 3);
	poke(p, "four bytes of text", 7, control(0, EXEC, FOUR));
	poke(p, "ports", 7, control(0, IO, BYTE));
	say("%lx", peek(p, 7));
	poke(p, "reserved bits", 7, 0xffff00000000fc00ul | 0x300);
	say("%lx", peek(p, 7));
	errno = 0;
	ptrace(PTRACE_PEEKUSER, p, DR(8), 0);
	say("past: %d", errno);
	poke(p, "past", 8, 0);
	ptrace(PTRACE_KILL, p, 0, 0);
	kill(p, SIGKILL);
	waitpid(p, 0, 0);
}

/* Steps report as such beside what they hit. */
static void steps(void)
{
	int ws, n = 0;
	siginfo_t i;
	pid_t p = begun(child);
	poke(p, "address", 0, (unsigned long)&watched[0]);
	poke(p, "control", 7, control(0, WRITE, EIGHT));
	do {
		ptrace(PTRACE_SINGLESTEP, p, 0, 0);
		waitpid(p, &ws, 0);
		ptrace(PTRACE_GETSIGINFO, p, 0, &i);
		if (n++ == 0)
			say("a step: code %d, dr6 %lx", i.si_code, peek(p, 6) & 0x400f);
	} while (WIFSTOPPED(ws) && !(peek(p, 6) & 15));
	say("hit: code %d, dr6 %lx, many %d, watched %ld", i.si_code, peek(p, 6) & 0x400f, n > 100, ptrace(PTRACE_PEEKDATA, p, &watched[0], 0));
	err("detach", ptrace(PTRACE_DETACH, p, 0, SIGKILL));
	waitpid(p, &ws, 0);
	status("killed", ws);
}

/* An exec has no debug registers set. */
static void anew(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	execl("/proc/self/exe", "cprogs", "list", (char *)0);
	_exit(9);
}

static void execs(void)
{
	int out = dup(1), null = open("/dev/null", O_WRONLY);
	dup2(null, 1);
	pid_t p = fork();
	if (p == 0)
		anew();
	dup2(out, 1);
	int ws;
	waitpid(p, &ws, 0);
	poke(p, "address", 0, (unsigned long)&watched[0]);
	poke(p, "control", 7, control(0, WRITE, EIGHT));
	ptrace(PTRACE_CONT, p, 0, 0);
	waitpid(p, &ws, 0);
	status("exec", ws);
	say("%lx %lx", peek(p, 0), peek(p, 7));
	ptrace(PTRACE_CONT, p, 0, 0);
	waitpid(p, &ws, 0);
	status("over", ws);
}

/* Requests that Linux has got since 4.21. */
enum {
	SECCOMP_GET_FILTER_ = 0x420c, SECCOMP_GET_METADATA_, GET_SYSCALL_INFO_, GET_RSEQ_CONFIGURATION_,
	SET_DISPATCH_CONFIG_, GET_DISPATCH_CONFIG_, SET_SYSCALL_INFO_,
	O_SUSPEND_SECCOMP_ = 1 << 21,
};

/* struct ptrace_syscall_info of linux/ptrace.h */
struct info_ {
	uint8_t op, reserved;
	uint16_t flags;
	uint32_t arch;
	uint64_t ip, sp, nr, args[6];
	uint32_t data, reserved2;
};

/* filter has a call fail. */
static void filter(int nr, int errnum, int flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, errnum < 0 ? SECCOMP_RET_TRACE | -errnum : SECCOMP_RET_ERRNO | errnum),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	err("filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog));
}

static void filtered(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	filter(SYS_getpgrp, EDOM, 0);
	filter(SYS_getsid, ERANGE, SECCOMP_FILTER_FLAG_LOG);
	filter(SYS_getpgid, -7, 0);
	raise(SIGSTOP);
	err("getpgrp", syscall(SYS_getpgrp));
	raise(SIGSTOP);
	err("getpgrp", syscall(SYS_getpgrp));
	err("getpgid", syscall(SYS_getpgid, 0) > 0 ? 0 : -1);
	_exit(3);
}

static void filters(void)
{
	int ws;
	pid_t p = begun(filtered);
	for (uint64_t n = 0; n < 5; n++) {
		struct sock_filter code[8];
		struct {
			uint64_t off, flags;
		} md = {n, 0};
		long r = ptrace(SECCOMP_GET_METADATA_, p, sizeof md, &md);
		say("metadata of %d: %ld %s, %d", (int)n, r, r < 0 ? strerrorname_np(errno) : "", (int)md.flags);
		r = ptrace(SECCOMP_GET_FILTER_, p, n, code);
		say("filter %d: %ld %s", (int)n, r, r < 0 ? strerrorname_np(errno) : "");
		if (r == 4)
			say("  %x %d %d %d, %x", code[1].code, code[1].jt, code[1].jf, code[1].k, code[2].k);
	}
	say("how many: %ld", ptrace(SECCOMP_GET_FILTER_, p, 0, 0));
	uint64_t off = 1;
	err("short", ptrace(SECCOMP_GET_METADATA_, p, 4, &off));
	say("less: %ld", ptrace(SECCOMP_GET_METADATA_, p, 8, &off));
	err("suspend", ptrace(PTRACE_SETOPTIONS, p, 0, O_SUSPEND_SECCOMP_));
	until(p, "suspended");
	err("no more", ptrace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACESECCOMP));
	until(p, "a filter's");
	struct info_ i = {0};
	long n = ptrace(GET_SYSCALL_INFO_, p, sizeof i, &i);
	say("info: %ld, op %d, %d(%ld), data %d", n, i.op, (int)i.nr, (long)i.args[0], i.data);
	i.reserved = 1;
	err("reserved", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
	i.reserved = 0;
	i.args[0] = getpid();
	err("set", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
	until(p, "over");
	if ((p = fork()) == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(p, &ws, 0);
	err("no filter", ptrace(SECCOMP_GET_FILTER_, p, 0, 0));
	err("no filter", ptrace(SECCOMP_GET_METADATA_, p, 16, &off));
	ptrace(PTRACE_CONT, p, 0, 0);
	waitpid(p, &ws, 0);
	err("not traced", ptrace(SECCOMP_GET_FILTER_, p, 0, 0));
}

static void calling(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	say("pid: %d", (int)(syscall(SYS_getpid) == getppid()));
	say("uid: %ld", syscall(SYS_getuid));
	_exit(3);
}

static void calls(void)
{
	int ws;
	struct info_ i;
	pid_t p = begun(calling);
	err("short", ptrace(SET_SYSCALL_INFO_, p, 80, &i));
	memset(&i, 0, sizeof i);
	err("at no call", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
	struct {
		uint64_t area;
		uint32_t size, signature, flags, pad;
	} rs = {0};
	long r = ptrace(GET_RSEQ_CONFIGURATION_, p, sizeof rs, &rs);
	say("rseq: %ld, %d %d %x %x", r, rs.area != 0, rs.size, rs.signature, rs.flags);
	say("rseq, less: %ld", ptrace(GET_RSEQ_CONFIGURATION_, p, 8, &rs));
	uint64_t d[4];
	err("dispatch, short", ptrace(GET_DISPATCH_CONFIG_, p, 24, d));
	err("dispatch", ptrace(GET_DISPATCH_CONFIG_, p, sizeof d, d));
	say("%lx %lx %lx %lx", d[0], d[1], d[2], d[3]);
	uint64_t all[4] = {1, 0, 0, 1ul << 47};
	err("set", ptrace(SET_DISPATCH_CONFIG_, p, sizeof d, all));
	err("dispatch", ptrace(GET_DISPATCH_CONFIG_, p, sizeof d, d));
	say("%lx %lx %lx %lx", d[0], d[1], d[2], d[3]);
	all[0] = 7;
	err("no such mode", ptrace(SET_DISPATCH_CONFIG_, p, sizeof d, all));
	memset(all, 0, sizeof all);
	err("off", ptrace(SET_DISPATCH_CONFIG_, p, sizeof d, all));
	ptrace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACESYSGOOD);
	for (;;) {
		ptrace(PTRACE_SYSCALL, p, 0, 0);
		waitpid(p, &ws, 0);
		if (!WIFSTOPPED(ws))
			break;
		if (WSTOPSIG(ws) != (SIGTRAP | 0x80))
			continue;
		memset(&i, 0, sizeof i);
		ptrace(GET_SYSCALL_INFO_, p, sizeof i, &i);
		static int nr;
		if (i.op == 1) {
			nr = i.nr;
			if (nr == SYS_getpid) {
				i.op = 2;
				err("another kind", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
				i.op = 1;
				i.nr = 1l << 40;
				err("no number", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
				i.nr = SYS_getppid;
				err("another", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
			}
		} else if (nr == SYS_getuid) {
			i.nr = 4711; /* the result */
			i.args[0] = 0;
			err("result", ptrace(SET_SYSCALL_INFO_, p, sizeof i, &i));
		}
	}
	status("over", ws);
}

/* The tracer answers calls in the kernel's place. */
static void emulated(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	long a = syscall(SYS_getpid), b = syscall(SYS_write, 1, "not written\n", 12), c = syscall(SYS_getppid) == getppid();
	syscall(SYS_getpid);
	say("%ld %ld %ld", a, b, c);
	_exit(3);
}

static void emulates(void)
{
	int ws, n = 0;
	struct user_regs_struct r;
	pid_t p = begun(emulated);
	ptrace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACESYSGOOD);
	for (int request = PTRACE_SYSEMU; n < 5; n++) {
		err("on", ptrace(request, p, 0, 0));
		waitpid(p, &ws, 0);
		status("stopped", ws);
		struct info_ i = {0};
		ptrace(GET_SYSCALL_INFO_, p, sizeof i, &i);
		ptrace(PTRACE_GETREGS, p, 0, &r);
		say("op %d, call %ld, rax %ld", i.op, i.op == 1 ? (long)i.nr : 0, i.op ? (long)r.rax : 0);
		if (i.op == 1 && (i.nr == SYS_getpid || i.nr == SYS_write)) {
			r.rax = 4711 + n;
			ptrace(PTRACE_SETREGS, p, 0, &r);
		}
		if (i.op == 1 && i.nr == SYS_getppid)
			request = PTRACE_SYSCALL; /* this one is skipped all the same, and has an end */
	}
	err("steps", ptrace(PTRACE_SYSEMU_SINGLESTEP, p, 0, 0));
	waitpid(p, &ws, 0);
	ptrace(PTRACE_GETREGS, p, 0, &r);
	unsigned long rip = r.rip;
	status("a step", ws);
	err("blocks", ptrace(PTRACE_SINGLEBLOCK, p, 0, 0));
	waitpid(p, &ws, 0);
	ptrace(PTRACE_GETREGS, p, 0, &r);
	status("another", ws);
	say("elsewhere: %d", r.rip != rip);
	ptrace(PTRACE_CONT, p, 0, 0);
	waitpid(p, &ws, 0);
	status("over", ws);
}

const struct row debug_rows[] = {
	{"debug.emulate", emulates},
	{"+debug.watch", watches},
	{"+debug.step", steps},
	{"debug.refused", badly},
	{"debug.filters", filters},
	{"debug.calls", calls},
	{"debug.exec", execs},
	{0, 0},
};
