#include "cprogs.h"
#include <sys/auxv.h>
#include <ucontext.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_GET_AUXV
#define PR_GET_AUXV 0x41555856
#endif

static long ctl(int option, long a, long b, long c, long d) { return syscall(SYS_prctl, option, a, b, c, d); }

static void answer(const char *what, long r)
{
	if (r == -1)
		err(what, r);
	else
		say("%s: %ld", what, r);
}

/* in_child runs f in a process of its own, for what cannot be taken back. */
static void in_child(const char *what, void (*f)(void))
{
	int ws = 0;
	if (fork() == 0) {
		f();
		_exit(0);
	}
	wait(&ws);
	status(what, ws);
}

/* What options say to arguments that they do not take. */
static void arguments(void)
{
	static const struct {
		const char *name;
		int option;
	} options[] = {
		{"pdeathsig", PR_SET_PDEATHSIG}, {"dumpable", PR_SET_DUMPABLE}, {"unalign", PR_SET_UNALIGN},
		{"keepcaps", PR_SET_KEEPCAPS}, {"fpemu", PR_SET_FPEMU}, {"fpexc", PR_SET_FPEXC},
		{"timing", PR_SET_TIMING}, {"get timing", PR_GET_TIMING}, {"endian", PR_SET_ENDIAN},
		{"capbset", PR_CAPBSET_READ}, {"mce kill get", PR_MCE_KILL_GET},
		{"get no_new_privs", PR_GET_NO_NEW_PRIVS}, {"get thp", PR_GET_THP_DISABLE}, {"mpx", 43}, {"fp mode", 45},
		{"ambient", PR_CAP_AMBIENT}, {"sve", 50}, {"pac", 54}, {"tagged", 55}, {"get mdwe", PR_GET_MDWE},
		{"perf", PR_TASK_PERF_EVENTS_DISABLE}, {"subreaper", PR_SET_CHILD_SUBREAPER}, {"no_new_privs", PR_SET_NO_NEW_PRIVS},
		{"seccomp", PR_SET_SECCOMP}, {"vma", PR_SET_VMA}, {"unknown", 12345},
	};
	static const long args[][4] = {{0}, {2}, {99}, {1, 1}, {1, 2}, {1, 3}, {0, 0, 1}, {0, 0, 0, 1}, {0, 1}, {1L << 32}};
	for (size_t o = 0; o < sizeof options / sizeof *options; o++)
		for (size_t a = 0; a < sizeof args / sizeof *args; a++) {
			char what[80];
			snprintf(what, sizeof what, "%s %ld %ld %ld %ld", options[o].name, args[a][0], args[a][1], args[a][2], args[a][3]);
			answer(what, ctl(options[o].option, args[a][0], args[a][1], args[a][2], args[a][3]));
		}
	static const long kills[][2] = {{0}, {0, 1}, {1, 1}, {1, 0}, {1, 2}, {2}};
	for (size_t i = 0; i < sizeof kills / sizeof *kills; i++) {
		err("mce kill", ctl(PR_MCE_KILL, kills[i][0], kills[i][1], 0, 0));
		answer("get", ctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
	}
	err("mce kill", ctl(PR_MCE_KILL, 0, 0, 1, 0));
	int mode = 0;
	err("get tsc", prctl(PR_GET_TSC, &mode));
	say("tsc %d", mode);
	err("set tsc", prctl(PR_SET_TSC, PR_TSC_ENABLE));
	err("set tsc 3", prctl(PR_SET_TSC, 3));
	err("get pdeathsig nowhere", prctl(PR_GET_PDEATHSIG, 8));
	err("get tsc nowhere", prctl(PR_GET_TSC, 8));
	err("set name nowhere", prctl(PR_SET_NAME, 8));
	char *end = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), name[16];
	munmap(end + 4096, 4096);
	strcpy(end + 4092, "end");
	err("a name at the end of memory", prctl(PR_SET_NAME, end + 4092));
	err("get name", prctl(PR_GET_NAME, name));
	say("%s", name);
	memcpy(end + 4092, "long", 4);
	err("a name beyond it", prctl(PR_SET_NAME, end + 4092));
}

static void slack(void)
{
	char text[40] = "";
	answer("at first", prctl(PR_GET_TIMERSLACK));
	err("set", prctl(PR_SET_TIMERSLACK, 7000));
	answer("get", prctl(PR_GET_TIMERSLACK));
	int fd = open("/proc/self/timerslack_ns", O_RDWR);
	text[read(fd, text, sizeof text - 1)] = 0;
	say("file %s", text);
	err("write", write(fd, "8000", 4));
	answer("get", prctl(PR_GET_TIMERSLACK));
	err("write", write(fd, "x", 1));
	close(fd);
	if (fork() == 0) {
		answer("child", prctl(PR_GET_TIMERSLACK));
		prctl(PR_SET_TIMERSLACK, 9000);
		err("back", prctl(PR_SET_TIMERSLACK, 0));
		answer("child", prctl(PR_GET_TIMERSLACK));
		_exit(0);
	}
	wait(0);
	err("back", prctl(PR_SET_TIMERSLACK, -5L));
	answer("get", prctl(PR_GET_TIMERSLACK));
}

static void locked(void)
{
	static const long bits[] = {0x10, 0x40, 1 << 20, 1L << 32, 0x30, 0x10, 0x20, 0x60, 0xc0, 0xe0, 0xa0, 0x31, 0x20};
	for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
		char what[40];
		snprintf(what, sizeof what, "set %#lx", bits[i]);
		err(what, prctl(PR_SET_SECUREBITS, bits[i]));
		answer("bits", prctl(PR_GET_SECUREBITS));
		answer("keep", prctl(PR_GET_KEEPCAPS));
	}
	err("keep", prctl(PR_SET_KEEPCAPS, 1));
	err("keep 2", prctl(PR_SET_KEEPCAPS, 2));
}

static void ambient(void)
{
	static const long a[][2] = {{1, 0}, {2, 0}, {3, 0}, {1, 99}, {2, 99}, {4, 0}, {4, 1}, {9, 0}, {9, 99}};
	for (size_t i = 0; i < sizeof a / sizeof *a; i++) {
		char what[40];
		snprintf(what, sizeof what, "ambient %ld %ld", a[i][0], a[i][1]);
		answer(what, ctl(PR_CAP_AMBIENT, a[i][0], a[i][1], 0, 0));
	}
	err("drop", prctl(PR_CAPBSET_DROP, 25));
	answer("read", prctl(PR_CAPBSET_READ, 25));
	err("drop 99", prctl(PR_CAPBSET_DROP, 99));
	err("user", setresuid(1000, 1000, 1000));
	err("drop", prctl(PR_CAPBSET_DROP, 24));
	err("drop 99", prctl(PR_CAPBSET_DROP, 99));
	err("secure bits", prctl(PR_SET_SECUREBITS, 0));
}

static void bits(void)
{
	in_child("locked", locked);
	in_child("ambient", ambient);
}

static void deny(void)
{
	static const long set[][2] = {{2}, {4}, {1, 1}, {1}, {3}, {0}, {1}};
	char *rw = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *rx = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
		char what[40];
		snprintf(what, sizeof what, "set %ld %ld", set[i][0], set[i][1]);
		err(what, ctl(PR_SET_MDWE, set[i][0], set[i][1], 0, 0));
		answer("get", ctl(PR_GET_MDWE, 0, 0, 0, 0));
	}
	err("written to, then executed", mprotect(rw, 4096, PROT_READ | PROT_EXEC));
	err("executed, then written to", mprotect(rx, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
	err("executed still", mprotect(rx, 4096, PROT_EXEC));
	err("read", mprotect(rx, 4096, PROT_READ));
	err("executed again", mprotect(rx, 4096, PROT_READ | PROT_EXEC));
	err("both", mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
	err("executed", mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
	if (fork() == 0) {
		answer("child", ctl(PR_GET_MDWE, 0, 0, 0, 0));
		execl("/proc/self/exe", "cprogs", "prctl.traits", (char *)0);
		_exit(9);
	}
	wait(0);
}

static void deny_one(void)
{
	err("no inherit", ctl(PR_SET_MDWE, 3, 0, 0, 0));
	answer("get", ctl(PR_GET_MDWE, 0, 0, 0, 0));
	if (fork() == 0) {
		answer("child", ctl(PR_GET_MDWE, 0, 0, 0, 0));
		_exit(0);
	}
	wait(0);
	execl("/proc/self/exe", "cprogs", "prctl.traits", (char *)0);
}

static void mdwe(void)
{
	in_child("denied", deny);
	in_child("not to children", deny_one);
}

static void no_huge(void)
{
	err("set", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	if (fork() == 0) {
		answer("child", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
		_exit(0);
	}
	wait(0);
	execl("/proc/self/exe", "cprogs", "prctl.traits", (char *)0);
}

static void thp(void) { in_child("huge pages", no_huge); }

static void traits(void)
{
	answer("thp", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	answer("mdwe", ctl(PR_GET_MDWE, 0, 0, 0, 0));
	answer("slack", prctl(PR_GET_TIMERSLACK));
}

static void vector(void)
{
	unsigned long v[256] = {0}, found = 0;
	long n = ctl(PR_GET_AUXV, (long)v, sizeof v, 0, 0);
	for (int i = 0; v[i] && i < 250; i += 2)
		if (v[i] == AT_PHDR || v[i] == AT_ENTRY || v[i] == AT_PAGESZ || v[i] == AT_UID)
			found += v[i + 1] == getauxval(v[i]);
	say("%d %lu", n > 300, found);
	err("arguments", ctl(PR_GET_AUXV, (long)v, 8, 0, 1));
	v[1] = 77;
	err("short", ctl(PR_GET_AUXV, (long)v, 8, 0, 0) > 0 ? 0 : -1);
	say("%lu", v[1]);
	err("nowhere", ctl(PR_GET_AUXV, 8, 8, 0, 0));
}

/* Calls from outside of a range raise SIGSYS, while a byte says so. */
static volatile char selector;
static volatile long seen[6];
static volatile int caught;

static void catch(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	selector = 0;
	caught++;
	seen[0] = sig, seen[1] = info->si_code, seen[2] = info->si_syscall, seen[3] = info->si_errno;
	seen[4] = info->si_call_addr == (void *)u->uc_mcontext.gregs[REG_RIP];
	seen[5] = u->uc_mcontext.gregs[REG_RAX];
	u->uc_mcontext.gregs[REG_RAX] = 4711;
}

static long call(long nr)
{
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(nr) : "rcx", "r11", "memory");
	return r;
}

static void caught_calls(void)
{
	struct sigaction sa = {.sa_sigaction = catch, .sa_flags = SA_SIGINFO};
	sigaction(SIGSYS, &sa, 0);
	static const long bad[][4] = {{0, 1}, {0, 0, 1}, {0, 0, 0, 8}, {1, 8, -1, 0}, {1, 0, 0, -1}, {2, 8, 0, 0}, {3}};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		err("bad", ctl(PR_SET_SYSCALL_USER_DISPATCH, bad[i][0], bad[i][1], bad[i][2], bad[i][3]));
	for (int round = 0; round < 8; round++) { /* also when its place has been rewritten */
		selector = 0;
		err("on", ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, (long)&selector));
		long pid = call(SYS_getpid);
		selector = 1;
		long got = call(SYS_getpid), made = 0;
		selector = 1;
		made = call(1500);
		say("allowed %d, blocked %ld, unknown %ld, caught %d", pid == getpid(), got, made, caught);
		say("signal %ld code %ld call %ld errno %ld address %ld rax %ld", seen[0], seen[1], seen[2], seen[3], seen[4], seen[5]);
		err("off", ctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0));
		selector = 1;
		say("off %d", call(SYS_getpid) == getpid());
	}
	int at_once = 0;
	for (int round = 0; round < 40; round++) { /* the very next call */
		selector = 0;
		ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, (long)&selector);
		selector = 1;
		at_once += call(SYS_getpid) == 4711;
		ctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
	}
	say("at once: %d", at_once);
	selector = 0;
	ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, (long)&selector);
	if (fork() == 0) {
		selector = 1;
		say("a child has it not: %d", call(SYS_getpid) > 0 && caught == 56);
		_exit(0);
	}
	wait(0);
	err("off", ctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0));
	long all = 1L << 47;
	err("all of memory", ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, all, 0));
	say("%d", call(SYS_getpid) > 0);
	err("off", ctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0));
}

static void bad_selector(void)
{
	ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, (long)&selector);
	selector = 7;
	call(SYS_getpid);
}

static void no_selector(void)
{
	ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, 8);
	call(SYS_getpid);
}

static void unhandled(void)
{
	signal(SIGSYS, SIG_DFL);
	ctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, 0);
	call(SYS_getpid);
}

static void dispatch(void)
{
	in_child("calls", caught_calls);
	in_child("selector", bad_selector);
	in_child("no selector", no_selector);
	in_child("unhandled", unhandled);
}

const struct row prctl_rows[] = {
	{"prctl.arguments", arguments}, {"prctl.slack", slack}, {"prctl.bits", bits}, {"prctl.mdwe", mdwe}, {"prctl.thp", thp},
	{"prctl.traits", traits}, {"prctl.auxv", vector}, {"prctl.dispatch", dispatch}, {0},
};
