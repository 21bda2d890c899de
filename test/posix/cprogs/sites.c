#include "cprogs.h"
#include <spawn.h>
#include <sys/auxv.h>
#include <ucontext.h>

/*
 * Call sites of every shape, called so often that the sandbox rewrites them, by
 * threads that race through them, with signals that land in them, and in
 * children. Natively nothing is rewritten, and the answers must be the same.
 */

enum { HOT = 260 }; /* calls after which a site is rewritten, if it ever is */

/*
 * A probe loads all registers, goes through its site, and stores them again:
 * all but RCX and R11, which a system call may change, must be as Linux leaves
 * them.
 */
struct regs {
	uint64_t rbx, rbp, r12, r13, r14, r15, rsi, rdx, r10, r8, r9, rax, flags, rdi;
};

#define PROBE(name, site) \
	void probe_##name(struct regs *); \
	__asm__(".text\n.balign 64\n.type probe_" #name ", @function\nprobe_" #name ":\n" \
		"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n" \
		"mov 0(%rdi), %rbx\nmov 8(%rdi), %rbp\nmov 16(%rdi), %r12\nmov 24(%rdi), %r13\n" \
		"mov 32(%rdi), %r14\nmov 40(%rdi), %r15\nmov 48(%rdi), %rsi\nmov 56(%rdi), %rdx\n" \
		"mov 64(%rdi), %r10\nmov 72(%rdi), %r8\nmov 80(%rdi), %r9\nmov 88(%rdi), %rax\n" \
		"pushq 96(%rdi)\nmov 104(%rdi), %rdi\npopfq\n" \
		site "\n" \
		"pushfq\npush %rdi\nmov 16(%rsp), %rdi\n" \
		"mov %rbx, 0(%rdi)\nmov %rbp, 8(%rdi)\nmov %r12, 16(%rdi)\nmov %r13, 24(%rdi)\n" \
		"mov %r14, 32(%rdi)\nmov %r15, 40(%rdi)\nmov %rsi, 48(%rdi)\nmov %rdx, 56(%rdi)\n" \
		"mov %r10, 64(%rdi)\nmov %r8, 72(%rdi)\nmov %r9, 80(%rdi)\nmov %rax, 88(%rdi)\n" \
		"pop %rax\nmov %rax, 104(%rdi)\npop %rax\nmov %rax, 96(%rdi)\n" \
		"pop %rdi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n")

PROBE(mov5, "mov $39, %eax\nsyscall");                        /* getpid */
PROBE(mov5_ring, "mov $111, %eax\nsyscall");                  /* getpgrp */
PROBE(mov7, ".byte 0x48, 0xc7, 0xc0\n.long 102\nsyscall");    /* getuid, mov $imm32, %rax */
PROBE(mov6_r10, "mov $0x12345, %r10d\nsyscall");
PROBE(mov7_rdx, ".byte 0x48, 0xc7, 0xc2\n.long 77\nsyscall"); /* mov $imm32, %rdx */
PROBE(musl, "mov 88(%rdi), %rax\nmov 48(%rdi), %rsi\nmov -8(%rsp), %r9\nsyscall\nnop");
PROBE(xor_cmp, "xor %eax, %eax\nsyscall\ncmp $-4095, %rax\nnop");
PROBE(cmp_only, "syscall\ncmp $-4096, %rax\njbe 1f\nneg %eax\n1:");
PROBE(mov_after, "syscall\nmov %rax, %rbx\nlea 8(%rbx), %rbx\nxchg %ax, %ax");
PROBE(ret, "call 2f\njmp 3f\n2: syscall\nret\n3:");
PROBE(jump_to, "jmp 4f\nmov $1000, %eax\n4: syscall\nnop");
PROBE(test, "syscall\ntest %rax, %rax\njs 5f\nnop\n5:");

static const struct probe {
	const char *name;
	void (*run)(struct regs *);
	long nr;
	int pointer; /* RDI is to be the registers' own address */
} probes[] = {
	{"mov5", probe_mov5, -1, 0}, {"mov5_ring", probe_mov5_ring, -1, 0}, {"mov7", probe_mov7, -1, 0},
	{"mov6_r10", probe_mov6_r10, SYS_getppid, 0}, {"mov7_rdx", probe_mov7_rdx, SYS_geteuid, 0},
	{"musl", probe_musl, SYS_getgid, 1}, {"xor_cmp", probe_xor_cmp, -1, 0},
	{"cmp_only", probe_cmp_only, 2000, 0}, {"mov_after", probe_mov_after, SYS_getpgrp, 0},
	{"ret", probe_ret, SYS_getpgrp, 0}, {"jump_to", probe_jump_to, SYS_getegid, 0},
	{"test", probe_test, SYS_getpgrp, 0},
};
enum { NPROBES = sizeof probes / sizeof *probes };

static void fill(struct regs *r, const struct probe *p, uint64_t salt)
{
	uint64_t *w = (uint64_t *)r;
	for (size_t i = 0; i < sizeof *r / 8; i++)
		w[i] = (salt + i + 1) * 0x9e3779b97f4a7c15;
	r->flags = 0x202 | (r->flags & 0x8d5);
	r->rax = p->nr;
	r->rdi = p->pointer ? (uint64_t)r : (uint64_t)-1;
}

/* wrong gives which register is not as it must be, or 0. */
static const char *wrong(const struct probe *p, struct regs *want, struct regs *got)
{
	static const char *const names[] = {"rbx", "rbp", "r12", "r13", "r14", "r15", "rsi", "rdx", "r10", "r8", "r9", "rax", "flags", "rdi"};
	uint64_t *a = (uint64_t *)want, *b = (uint64_t *)got;
	for (size_t i = 0; i < sizeof *want / 8; i++)
		if (a[i] != b[i] && !(p->pointer && (i == 10 || i == 13)))
			return names[i];
	return 0;
}

static void registers(void)
{
	setpgid(0, 0);
	long me = getpid(), parent = getppid(), group = getpgrp();
	for (int i = 0; i < NPROBES; i++) {
		const struct probe *p = &probes[i];
		const char *bad = 0;
		struct regs first[4], r;
		for (int n = 0; n < HOT && !bad; n++)
			for (int salt = 0; salt < 4 && !bad; salt++) {
				fill(&r, p, salt);
				p->run(&r);
				if (n == 0)
					first[salt] = r;
				bad = wrong(p, &first[salt], &r);
			}
		struct regs *f = &first[1], in;
		fill(&in, p, 1);
		say("%s: wrong %s; flags kept %d, rax %s", p->name, bad ? bad : "none", (f->flags & 0x8d5) == (in.flags & 0x8d5),
		    (long)f->rax == group && p->nr == SYS_getpgrp ? "group" : (long)f->rax == me ? "pid"
		    : (long)f->rax == parent ? "parent" : (long)f->rax < 0 ? "an error" : "a number");
		say("%s: rdx kept %d r10 kept %d rbx kept %d", p->name, f->rdx == in.rdx, f->r10 == in.r10, f->rbx == in.rbx);
	}
}

/* Many sites, each raced for while it is rewritten. Odd lengths give every alignment. */
enum { SITES = 40 };
extern const char sites_mov[], sites_xor[], sites_musl[];
__asm__(".text\n.balign 64\nsites_mov:\n.rept 40\nmov $39, %eax\nsyscall\nnop\nret\n.endr\n"
	".balign 64\nsites_xor:\n.rept 40\nxor %eax, %eax\nsyscall\ncmp $-4095, %rax\nnop\nret\n.endr\n"
	".balign 64\nsites_musl:\n.rept 40\nmov %rdi, %rax\nmov -8(%rsp), %r9\nsyscall\nret\n.endr\n");
enum { MOV_LEN = 9, XOR_LEN = 12, MUSL_LEN = 11 };

typedef long (*site)(long, long, long);

static pthread_barrier_t line;
static long pid;
static int misses;

static void miss(int is)
{
	if (is)
		__atomic_fetch_add(&misses, 1, __ATOMIC_RELAXED);
}

static void *racer(void *arg)
{
	(void)arg;
	for (int i = 0; i < SITES; i++) {
		site mov = (site)(sites_mov + i * MOV_LEN), xor = (site)(sites_xor + i * XOR_LEN);
		site musl = (site)(sites_musl + i * MUSL_LEN);
		pthread_barrier_wait(&line);
		for (int n = 0; n < 70; n++) {
			miss(mov(0, 0, 0) != pid);
			miss(xor(-1, 0, 0) != -EBADF);
			miss(musl(SYS_getpid, 0, 0) != pid);
			miss(musl(SYS_dup, -1, 0) == 0);
		}
	}
	return 0;
}

static void race(void)
{
	enum { N = 4 };
	pthread_t t[N];
	pid = getpid();
	pthread_barrier_init(&line, 0, N);
	for (int i = 0; i < N; i++)
		pthread_create(&t[i], 0, racer, 0);
	for (int i = 0; i < N; i++)
		pthread_join(t[i], 0);
	say("misses %d", misses);
}

static void *wrapper_racer(void *arg)
{
	(void)arg;
	int p[2];
	if (pipe(p) != 0)
		return 0;
	long tid = syscall(SYS_gettid);
	for (int n = 0; n < 600; n++) {
		char out = n, in = 0;
		miss(write(p[1], &out, 1) != 1);
		miss(read(p[0], &in, 1) != 1 || in != out);
		miss(syscall(SYS_gettid) != tid);
		miss(syscall(SYS_getpid) != pid);
		miss(syscall(SYS_dup, -1) != -1 || errno != EBADF);
		miss(syscall(SYS_lseek, p[0], 0, SEEK_CUR) != -1 || errno != ESPIPE);
		miss(syscall(SYS_fcntl, p[0], F_GETFD) != 0);
		miss(syscall(2000) != -1 || errno != ENOSYS);
	}
	close(p[0]);
	close(p[1]);
	return 0;
}

static void wrappers(void)
{
	enum { N = 4 };
	pthread_t t[N];
	pid = getpid();
	for (int i = 0; i < N; i++)
		pthread_create(&t[i], 0, wrapper_racer, 0);
	for (int i = 0; i < N; i++)
		pthread_join(t[i], 0);
	say("misses %d", misses);
}

/* Signals in the midst of it. */

extern char __executable_start, etext;
static volatile sig_atomic_t seen, outside, jumping;
static sigjmp_buf back;

static void landing(int sig, siginfo_t *si, void *ctx)
{
	(void)sig, (void)si;
	uintptr_t rip = ((ucontext_t *)ctx)->uc_mcontext.gregs[REG_RIP];
	if (rip < (uintptr_t)&__executable_start || rip >= (uintptr_t)&etext)
		outside++;
	seen++;
	int e = errno;
	miss(((site)sites_mov)(0, 0, 0) != pid);
	miss(((site)sites_xor)(-1, 0, 0) != -EBADF);
	miss(((site)sites_musl)(SYS_getpgrp, 0, 0) <= 0);
	errno = e;
	if (jumping && seen % 3 == 0)
		siglongjmp(back, 1);
}

static void on_landing(int sig, int flags)
{
	struct sigaction sa = {.sa_sigaction = landing, .sa_flags = SA_SIGINFO | flags};
	sigaction(sig, &sa, 0);
}

static void run_sites(void)
{
	struct regs r, first;
	for (int i = 0; i < 10; i++) {
		miss(((site)sites_mov)(0, 0, 0) != pid);
		miss(((site)sites_xor)(-1, 0, 0) != -EBADF);
		miss(((site)sites_musl)(SYS_getpid, 0, 0) != pid);
		miss(((site)(sites_mov + (i + 1) * MOV_LEN))(0, 0, 0) != pid);
	}
	for (int i = 0; i < NPROBES; i++) {
		fill(&first, &probes[i], 1);
		probes[i].run(&first);
		for (int n = 0; n < 4; n++) {
			fill(&r, &probes[i], 1);
			probes[i].run(&r);
			miss(wrong(&probes[i], &first, &r) != 0);
		}
	}
}

/* time_left is without the vDSO, which is outside the program's text. */
static int time_left(long end)
{
	struct timespec t;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000 < end;
}

static void alarms(void)
{
	pid = getpid();
	struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	for (volatile int kind = 0; kind < 3; kind++) {
		seen = outside = misses = 0;
		jumping = kind == 2;
		on_landing(SIGALRM, kind == 1 ? SA_RESTART : 0);
		volatile long end = now() + 8000;
		setitimer(ITIMER_REAL, &often, 0);
		sigsetjmp(back, 1);
		while (seen < 300 && time_left(end))
			run_sites();
		jumping = 0;
		setitimer(ITIMER_REAL, &never, 0);
		say("kind %d: enough %d outside %d misses %d", kind, seen >= 300, outside, misses);
	}
}

static volatile int sending;

static void *sender(void *arg)
{
	while (sending) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		sched_yield();
	}
	return 0;
}

static void killed_in_loops(void)
{
	pthread_t me = pthread_self(), t;
	pid = getpid();
	on_landing(SIGUSR1, SA_RESTART);
	sending = 1;
	long end = now() + 8000;
	pthread_create(&t, 0, sender, &me);
	int p[2];
	if (pipe(p) != 0)
		return;
	for (long n = 0; seen < 300 && time_left(end); n++) {
		char out = n, in = 0;
		run_sites();
		miss(write(p[1], &out, 1) != 1);
		miss(read(p[0], &in, 1) != 1 || in != out);
	}
	sending = 0;
	pthread_join(t, 0);
	say("enough %d outside %d misses %d", seen >= 300, outside, misses);
}

/* A call that waits at a site which is rewritten meanwhile. */

static site waiting;

static void make_hot(int sig)
{
	(void)sig;
	for (int i = 0; i < HOT; i++)
		miss(waiting(-1, 0, 0) != -EBADF);
}

static int blocked_pipe[2];

static void *waker(void *arg)
{
	pthread_t *who = arg;
	msleep(20);
	if (who)
		pthread_kill(*who, SIGUSR2);
	else
		make_hot(0);
	msleep(20);
	miss(write(blocked_pipe[1], "x", 1) != 1);
	return 0;
}

static void blocked(void)
{
	pthread_t me = pthread_self(), t;
	if (pipe(blocked_pipe) != 0)
		return;
	char c;
	static const char *const names[] = {"by a handler, SA_RESTART", "by a handler", "by a thread"};
	for (int kind = 0; kind < 3; kind++) {
		struct sigaction sa = {.sa_handler = make_hot, .sa_flags = kind == 0 ? SA_RESTART : 0};
		sigaction(SIGUSR2, &sa, 0);
		waiting = (site)(sites_xor + (20 + kind) * XOR_LEN);
		pthread_create(&t, 0, waker, kind == 2 ? 0 : &me);
		long r = waiting(blocked_pipe[0], (long)&c, 1);
		say("%s: %s", names[kind], r == 1 ? "read" : r == -EINTR ? "EINTR" : "else");
		pthread_join(t, 0);
		if (r != 1)
			say("then %ld", waiting(blocked_pipe[0], (long)&c, 1));
	}
	say("misses %d", misses);
}

/* Children of rewritten code. */

static void hot(void)
{
	for (int i = 0; i < HOT; i++) {
		miss(((site)sites_mov)(0, 0, 0) != getpid());
		miss(((site)sites_xor)(-1, 0, 0) != -EBADF);
		miss(((site)sites_musl)(SYS_getpid, 0, 0) != pid);
	}
}

static int vm_child(void *arg)
{
	(void)arg;
	long me = ((site)sites_mov)(0, 0, 0);
	miss(me == pid || me != ((site)sites_musl)(SYS_gettid, 0, 0));
	miss(((site)sites_musl)(SYS_getppid, 0, 0) != pid);
	for (int i = 0; i < HOT; i++) /* a site that its parent has not touched */
		miss(((site)(sites_mov + 30 * MOV_LEN))(0, 0, 0) != me);
	return 3;
}

extern char **environ;

static void children(void)
{
	int ws;
	pid = getpid();
	hot();
	for (int depth = 0; depth < 3; depth++) {
		pid_t p = fork();
		if (p == 0) {
			miss(((site)sites_musl)(SYS_getppid, 0, 0) != pid);
			pid = syscall(SYS_getpid);
			hot();
			for (int i = 0; i < HOT; i++)
				miss(((site)(sites_mov + (31 + depth) * MOV_LEN))(0, 0, 0) != pid);
			if (depth < 2)
				continue;
			_exit(misses);
		}
		for (int i = 0; i < HOT; i++)
			miss(((site)(sites_mov + (31 + depth) * MOV_LEN))(0, 0, 0) != pid);
		waitpid(p, &ws, 0);
		status("forked", ws);
		if (depth > 0)
			_exit(misses);
		break;
	}
	pid_t p = vfork();
	if (p == 0) {
		miss(((site)sites_mov)(0, 0, 0) == pid);
		execl("/proc/self/exe", "cprogs", "+exit", "23", (char *)0);
		_exit(99);
	}
	waitpid(p, &ws, 0);
	status("vfork", ws);
	char *argv[] = {"cprogs", "+exit", "24", 0};
	say("posix_spawn %d", posix_spawn(&p, "/proc/self/exe", 0, 0, argv, environ));
	waitpid(p, &ws, 0);
	status("posix_spawn", ws);
	char *stack = malloc(1 << 16);
	int flags[] = {CLONE_VM | SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD};
	for (int i = 0; i < 3; i++) {
		p = clone(vm_child, stack + (1 << 16), flags[i], 0);
		hot();
		waitpid(p, &ws, 0);
		status("CLONE_VM", ws);
		hot();
	}
	say("misses %d", misses);
}

/* A program with a GS of its own. */

static uint64_t gs_word(void)
{
	uint64_t v;
	__asm__ volatile("mov %%gs:0, %0" : "=r"(v));
	return v;
}

static void *gs_thread(void *arg)
{
	(void)arg;
	hot();
	return (void *)gs_word();
}

static void gs(void)
{
	static uint64_t own[2] = {41, 43};
	unsigned long base = 7;
	pid = getpid();
	err("ARCH_GET_GS", syscall(SYS_arch_prctl, 0x1004, &base));
	say("at first %lx", base);
	hot();
	err("ARCH_GET_GS to nowhere", syscall(SYS_arch_prctl, 0x1004, 8));
	err("ARCH_SET_GS", syscall(SYS_arch_prctl, 0x1001, own));
	hot();
	say("own %lu", gs_word());
	syscall(SYS_arch_prctl, 0x1004, &base);
	say("read back %d", base == (unsigned long)own);
	pid_t p = fork();
	if (p == 0) {
		pid = syscall(SYS_getpid);
		hot();
		_exit(gs_word());
	}
	int ws;
	waitpid(p, &ws, 0);
	status("a child has it", ws);
	pthread_t t;
	void *word;
	pthread_create(&t, 0, gs_thread, 0);
	pthread_join(t, &word);
	say("a thread has it %ld", (long)word);
	if (getauxval(AT_HWCAP2) & 2) {
		__asm__ volatile("wrgsbase %0" ::"r"(own + 1));
		hot();
		say("wrgsbase %d", gs_word() == 43);
	} else {
		say("wrgsbase 1");
	}
	err("ARCH_SET_GS 0", syscall(SYS_arch_prctl, 0x1001, 0));
	base = 7;
	err("ARCH_GET_GS", syscall(SYS_arch_prctl, 0x1004, &base));
	say("at last %lx", base);
	hot();
	err("ARCH_SET_GS too high", syscall(SYS_arch_prctl, 0x1001, -4096L));
	say("misses %d", misses);
}

/* Who am I, from sites that ask often. */

static pthread_barrier_t ids_line;
static uid_t other_uid[3];

static void *id_thread(void *arg)
{
	(void)arg;
	hot();
	pthread_barrier_wait(&ids_line);
	pthread_barrier_wait(&ids_line); /* one thread has changed its own */
	other_uid[0] = syscall(SYS_geteuid);
	pthread_barrier_wait(&ids_line);
	pthread_barrier_wait(&ids_line); /* the process has changed */
	other_uid[1] = syscall(SYS_geteuid);
	other_uid[2] = syscall(SYS_getuid);
	return 0;
}

static void ids(void)
{
	pthread_t t;
	pid = getpid();
	hot();
	for (int i = 0; i < HOT; i++)
		syscall(SYS_geteuid);
	pthread_barrier_init(&ids_line, 0, 2);
	pthread_create(&t, 0, id_thread, 0);
	pthread_barrier_wait(&ids_line);
	err("raw setresuid", syscall(SYS_setresuid, -1, 1234, -1));
	say("mine %ld", syscall(SYS_geteuid));
	pthread_barrier_wait(&ids_line);
	pthread_barrier_wait(&ids_line);
	say("the other thread's %d", other_uid[0]);
	err("back", syscall(SYS_setresuid, -1, 0, -1));
	err("glibc's setresuid", setresuid(77, 78, 0));
	pthread_barrier_wait(&ids_line);
	pthread_join(t, 0);
	say("mine %ld %ld, the other thread's %d %d", syscall(SYS_getuid), syscall(SYS_geteuid), other_uid[2], other_uid[1]);
	pid_t p = fork();
	if (p == 0) {
		say("a child's %ld %ld", syscall(SYS_getuid), syscall(SYS_geteuid));
		_exit(misses);
	}
	int ws;
	waitpid(p, &ws, 0);
	status("child", ws);
}

static void *exec_ids(void *arg)
{
	(void)arg;
	for (int i = 0; i < HOT; i++)
		miss(syscall(SYS_gettid) == syscall(SYS_getpid));
	execl("/proc/self/exe", "cprogs", "+ids", misses ? "1" : "0", (char *)0);
	_exit(98);
}

static void exec_again(void)
{
	for (int i = 0; i < 5; i++) {
		pid_t p = fork();
		if (p == 0) {
			pthread_t t;
			for (int n = 0; n < 2; n++)
				pthread_create(&t, 0, (void *(*)(void *))(void *)pause, 0);
			pthread_create(&t, 0, exec_ids, 0);
			for (;;)
				((site)sites_mov)(0, 0, 0);
		}
		int ws;
		waitpid(p, &ws, 0);
		status("exec from a thread", ws);
	}
}

const struct row sites_rows[] = {
	{"sites.registers", registers},
	{"sites.race", race},
	{"sites.wrappers", wrappers},
	{"sites.alarms", alarms},
	{"sites.signals", killed_in_loops},
	{"sites.blocked", blocked},
	{"sites.children", children},
	{"sites.gs", gs},
	{"sites.ids", ids},
	{"sites.exec", exec_again},
	{0, 0},
};
