#include "cprogs.h"

#include <cpuid.h>
#include <immintrin.h>
#include <ucontext.h>

/* What is in a handler's frame, and on which stack it lies. */

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static volatile sig_atomic_t count, depth;
static siginfo_t info;
static sigjmp_buf env;

static void on(int sig, void *h, int flags)
{
	struct sigaction sa = {.sa_sigaction = (void (*)(int, siginfo_t *, void *))h, .sa_flags = flags | SA_SIGINFO};
	sigaction(sig, &sa, 0);
}

static char alternate[65536] __attribute__((aligned(64)));

static int inside(const void *p)
{
	return (const char *)p >= alternate && (const char *)p < alternate + sizeof alternate;
}

static void nested(int sig, siginfo_t *si, void *uc)
{
	char here;
	(void)uc, (void)si;
	say("handler %d at depth %d on it: %d", sig, depth, inside(&here));
	if (depth++ == 0)
		raise(SIGUSR2);
	depth--;
}

static void jump(int sig, siginfo_t *si, void *uc)
{
	(void)si, (void)uc;
	siglongjmp(env, sig);
}

static void flags_now(const char *when)
{
	stack_t ss;
	sigaltstack(0, &ss);
	say("%s: flags %#x size %zu", when, ss.ss_flags, ss.ss_size);
}

static void disarmed(int sig, siginfo_t *si, void *uc)
{
	char here;
	(void)sig, (void)si;
	say("on it: %d", inside(&here));
	flags_now("in the handler");
	ucontext_t *u = uc;
	say("saved: flags %#x size %zu", u->uc_stack.ss_flags, u->uc_stack.ss_size);
	stack_t ss = {.ss_flags = SS_DISABLE};
	err("may be changed", sigaltstack(&ss, 0));
}

static void stacks(void)
{
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
	sigaltstack(&ss, 0);
	flags_now("set");
	on(SIGUSR1, nested, SA_ONSTACK);
	on(SIGUSR2, nested, SA_ONSTACK);
	raise(SIGUSR1);
	on(SIGUSR2, nested, 0);
	raise(SIGUSR1);
	/* A handler that jumps out leaves the stack for the next. */
	on(SIGUSR1, jump, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		int s = sigsetjmp(env, 1);
		if (s == 0)
			raise(SIGUSR1);
		flags_now("jumped out");
	}
	ss.ss_flags = SS_AUTODISARM;
	err("autodisarm", sigaltstack(&ss, 0));
	flags_now("set");
	on(SIGUSR1, disarmed, SA_ONSTACK);
	raise(SIGUSR1);
	flags_now("afterwards");
	/* Too small for the frame: the signal cannot be delivered. */
	pid_t p = fork();
	if (p == 0) {
		ss = (stack_t){.ss_sp = alternate, .ss_size = 2048};
		if (sigaltstack(&ss, 0) != 0)
			_exit(1);
		ss = (stack_t){.ss_sp = alternate, .ss_size = 2048};
		on(SIGUSR1, nested, SA_ONSTACK);
		raise(SIGUSR1);
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	/* Whether 2 KiB will do depends on the processor. */
	unsigned a, b, c, d;
	__cpuid_count(13, 0, a, b, c, d);
	if (b + 448 + 128 > 2048)
		status("too small", ws);
	else
		say("too small: killed by 11");
	/* No stack at all. */
	p = fork();
	if (p == 0) {
		on(SIGUSR1, nested, 0);
		__asm__ volatile("mov $0x10000, %%rsp\n mov %0, %%edi\n mov $10, %%esi\n mov $62, %%eax\n syscall\n ud2"
			: : "r"(getpid()) : "memory");
	}
	waitpid(p, &ws, 0);
	status("no stack", ws);
	/* No restorer. */
	p = fork();
	if (p == 0) {
		struct {
			void *handler;
			unsigned long flags;
			void *restorer;
			unsigned long mask;
		} ksa = {(void *)nested, 4, 0, 0};
		syscall(SYS_rt_sigaction, SIGUSR1, &ksa, 0, 8);
		raise(SIGUSR1);
		_exit(0);
	}
	waitpid(p, &ws, 0);
	status("no restorer", ws);
}

/* Extended state. */

static int change; /* what the handler does to the interrupted state */

static void clobber(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	ucontext_t *uc = context;
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
	count++;
	if (change) {
		say("seen: xmm6 %x", fp->_xmm[6].element[0]);
		fp->_xmm[6].element[0] = 0xabcd;
		unsigned a, off, c, d;
		__cpuid_count(13, 2, a, off, c, d);
		if (change > 1) {
			uint32_t *high = (uint32_t *)((char *)fp + off + 6 * 16);
			say("seen: upper ymm6 %x", high[0]);
			high[0] = 0xef01;
		}
	}
	unsigned mxcsr = _mm_getcsr();
	say("mxcsr in the handler %#x", mxcsr & ~0x3f);
	__asm__ volatile("pxor %%xmm6, %%xmm6\n pcmpeqd %%xmm7, %%xmm7\n fldpi\n fldpi\n" : : : "xmm6", "xmm7");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall" : : : "memory");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("kxorw %%k1, %%k1, %%k1\n vpxorq %%zmm17, %%zmm17, %%zmm17" : : : "memory");
}

static void state(void)
{
	on(SIGUSR1, clobber, 0);
	long pid = getpid();
	static uint32_t in[16] __attribute__((aligned(64))), out[16] __attribute__((aligned(64)));
	for (int i = 0; i < 16; i++)
		in[i] = 0x1000 + i;
	_mm_setcsr(0x9fc0); /* flush to zero, denormals are zero */
	__asm__ volatile("movdqa %1, %%xmm6\n syscall\n movdqa %%xmm6, %0"
		: "=m"(out) : "m"(in), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
	say("xmm %x %x, mxcsr %#x", out[0], out[3], _mm_getcsr());
	change = 1;
	__asm__ volatile("movdqa %1, %%xmm6\n syscall\n movdqa %%xmm6, %0"
		: "=m"(out) : "m"(in), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
	say("xmm changed %x %x", out[0], out[1]);
	change = 0;
	long double ld = 1.25L, back;
	__asm__ volatile("fldt %1\n syscall\n fstpt %0"
		: "=m"(back) : "m"(ld), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
	say("x87 %d", back == ld);
	if (__builtin_cpu_supports("avx")) {
		change = 2;
		memset(out, 0, sizeof out);
		__asm__ volatile("vmovdqa %1, %%ymm6\n syscall\n vmovdqa %%ymm6, %0"
			: "=m"(out) : "m"(in), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
		say("ymm changed %x %x %x %x", out[0], out[1], out[4], out[5]);
		change = 0;
	}
	if (__builtin_cpu_supports("avx512f")) {
		memset(out, 0, sizeof out);
		unsigned k = 0x5a5a, k2 = 0;
		__asm__ volatile("kmovw %3, %%k1\n vmovdqa64 %2, %%zmm17\n syscall\n vmovdqa64 %%zmm17, %0\n kmovw %%k1, %1"
			: "=m"(out), "=r"(k2) : "m"(in), "r"(k), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
		say("zmm %d, k %#x", memcmp(in, out, sizeof in), k2);
	}
}

/* A frame without the mark of extended state: only the old registers count. */
static void legacy_only(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	ucontext_t *uc = context;
	memset((char *)uc->uc_mcontext.fpregs + 464, 0, 48);
}

static void no_state(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	((ucontext_t *)context)->uc_mcontext.fpregs = 0;
}

static void bad_state(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	((ucontext_t *)context)->uc_mcontext.fpregs = (void *)8;
}

static void bad_header(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	memset((char *)((ucontext_t *)context)->uc_mcontext.fpregs + 512, 0xff, 64);
}

static void bad_rip(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = 0x10;
}

static void odd_states(void)
{
	long pid = getpid();
	static uint32_t in[8] __attribute__((aligned(64))) = {1, 2, 3, 4, 5, 6, 7, 8}, out[8] __attribute__((aligned(64)));
	int ws;
	if (__builtin_cpu_supports("avx")) {
		on(SIGUSR1, legacy_only, 0);
		__asm__ volatile("vmovdqa %1, %%ymm6\n syscall\n vmovdqa %%ymm6, %0"
			: "=m"(out) : "m"(in), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
		say("legacy only %x %x", out[1], out[5]);
		on(SIGUSR1, no_state, 0);
		__asm__ volatile("vmovdqa %1, %%ymm6\n syscall\n vmovdqa %%ymm6, %0"
			: "=m"(out) : "m"(in), "a"(62L), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
		say("none %x %x", out[1], out[5]);
	}
	void *handlers[] = {bad_state, bad_header, bad_rip};
	for (int i = 0; i < 3; i++) {
		pid_t p = fork();
		if (p == 0) {
			on(SIGUSR1, handlers[i], 0);
			raise(SIGUSR1);
			_exit(0);
		}
		waitpid(p, &ws, 0);
		status("bad frame", ws);
	}
	/* A return without a frame. */
	pid_t p = fork();
	if (p == 0) {
		__asm__ volatile("xor %%esp, %%esp\n mov $15, %%eax\n syscall\n ud2" : : : "memory");
	}
	waitpid(p, &ws, 0);
	status("no frame", ws);
}

/* Faults, as the machine's part of the context tells them. */

static void tell(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	say("signal %d code %d addr %s trap %lld err %lld cr2 %s", sig, si->si_code,
		si->si_addr == 0 ? "0" : (long)si->si_addr == g[REG_CR2] ? "cr2" : (long)si->si_addr == g[REG_RIP] ? "rip" : "other",
		g[REG_TRAPNO], g[REG_ERR], g[REG_CR2] == (long)env ? "?" : "");
	siglongjmp(env, sig);
}

static void fault_contexts(void)
{
	int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	for (int i = 0; i < 5; i++)
		on(sigs[i], tell, 0);
	if (!sigsetjmp(env, 1))
		*(volatile int *)24 = 1;
	if (!sigsetjmp(env, 1))
		(void)*(volatile int *)24;
	if (!sigsetjmp(env, 1))
		((void (*)(void))24)();
	char *ro = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!sigsetjmp(env, 1))
		*(volatile char *)ro = 1;
	if (!sigsetjmp(env, 1))
		*(volatile char *)0x8000000000000000 = 1;
	if (!sigsetjmp(env, 1))
		__asm__ volatile("cli");
	int fd = open("short", O_RDWR | O_CREAT, 0600);
	if (ftruncate(fd, 100) != 0)
		_exit(1);
	char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	say("inside the file %d", m[99]);
	if (!sigsetjmp(env, 1))
		m[4096] = 1;
	volatile int zero = 0;
	if (!sigsetjmp(env, 1))
		zero = 7 / zero;
	if (!sigsetjmp(env, 1))
		__asm__ volatile("ud2");
	if (!sigsetjmp(env, 1))
		__asm__ volatile("int3");
	if (!sigsetjmp(env, 1))
		__asm__ volatile("int $0x70");
	if (!sigsetjmp(env, 1))
		__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n nop\n nop" : : : "memory");
	/* Sent by hand, they have no address. */
	if (!sigsetjmp(env, 1))
		raise(SIGSEGV);
	/* Floating point. */
	if (!sigsetjmp(env, 1)) {
		_mm_setcsr(_mm_getcsr() & ~0x1e80);
		volatile double a = 1, b = 0;
		a = a / b;
	}
}

static long stepped;

static void step(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	ucontext_t *uc = context;
	if (++stepped == 5)
		uc->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

static void single_step(void)
{
	on(SIGTRAP, step, 0);
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n nop\n nop\n nop\n nop\n nop\n nop\n nop" : : : "memory");
	say("stepped %ld", stepped);
	/* Through a system call. */
	stepped = -100;
	long r;
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n syscall\n pushf\n andl $~0x100, (%%rsp)\n popf\n nop"
		: "=a"(r) : "a"((long)SYS_getppid) : "rcx", "r11", "memory");
	say("over a call %d: %ld steps", r == getppid(), stepped + 100);
}

static void resume_elsewhere(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	ucontext_t *uc = context;
	info = *si;
	count++;
	uc->uc_mcontext.gregs[REG_RIP] = uc->uc_mcontext.gregs[REG_RBX];
	uc->uc_mcontext.gregs[REG_RAX] = 77;
}

/* As Go's run-time and virtual machines of Java check for null. */
static void null_checks(void)
{
	on(SIGSEGV, resume_elsewhere, SA_ONSTACK | SA_NODEFER);
	long sum = 0;
	for (int i = 0; i < 10000; i++) {
		long r;
		__asm__ volatile("lea 1f(%%rip), %%rbx\n mov 16(%1), %%rax\n 1:" : "=a"(r) : "r"(0L) : "rbx", "memory");
		sum += r;
	}
	say("sum %ld count %d", sum, count);
}

static void made_writable(int sig, siginfo_t *si, void *uc)
{
	(void)sig, (void)uc;
	count++;
	mprotect((void *)((uintptr_t)si->si_addr & ~4095UL), 4096, PROT_READ | PROT_WRITE);
}

/* As garbage collectors watch for writes. */
static void write_barrier(void)
{
	on(SIGSEGV, made_writable, 0);
	char *m = mmap(0, 256 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 256; i++)
			m[i * 4096 + 9] += i;
		mprotect(m, 256 * 4096, PROT_READ);
	}
	long sum = 0;
	for (int i = 0; i < 256; i++)
		sum += (unsigned char)m[i * 4096 + 9];
	say("faults %d sum %ld", count, sum);
}

/* A result that cannot be copied out, with a signal on its way. */
static void fault_and_signal(void)
{
	on(SIGUSR1, nested, 0);
	depth = 1;
	sigset_t s, old;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, &old);
	raise(SIGUSR1);
	err("bad address for the old mask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, 8, 8));
	/* Many handlers start at once. */
	sigfillset(&s);
	sigprocmask(SIG_SETMASK, &s, &old);
	for (int i = SIGRTMIN; i <= SIGRTMAX; i++) {
		on(i, made_writable, 0);
		for (int k = 0; k < 3; k++)
			raise(i);
	}
	count = 0;
	sigprocmask(SIG_SETMASK, &old, 0);
	say("handlers %d", count);
}

static volatile char *lowest;

static void overflowed(int sig, siginfo_t *si, void *uc)
{
	char here;
	(void)uc;
	say("signal %d code %d, near where the stack ended: %d, on the alternate one: %d", sig, si->si_code,
	    labs((char *)si->si_addr - (char *)lowest) < 65536, inside(&here));
	siglongjmp(env, 1);
}

__attribute__((noinline)) static int deeper(int n)
{
	volatile char frame[4096];
	frame[0] = n;
	lowest = frame;
	return n < 0 ? 0 : deeper(n + 1) + frame[0];
}

static void *overflow_twice(void *arg)
{
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
	err("stack", sigaltstack(&ss, 0));
	on(SIGSEGV, overflowed, SA_ONSTACK);
	for (volatile int i = 0; i < 2; i++)
		if (sigsetjmp(env, 1) == 0)
			deeper(0);
	sigaltstack(0, &ss);
	say("left again: %d", ss.ss_flags);
	return arg;
}

/* A stack runs into its guard page, or into its limit: what a language's
 * run-time makes an exception of. */
static void overflow(void)
{
	pthread_t p;
	pthread_create(&p, 0, overflow_twice, 0);
	pthread_join(p, 0);
	struct rlimit r = {1 << 20, 1 << 20};
	setrlimit(RLIMIT_STACK, &r);
	overflow_twice(0);
	pid_t pid = fork();
	if (pid == 0) {
		on(SIGSEGV, overflowed, 0); // with no room for the frame
		sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, 0);
		deeper(0);
	}
	int ws;
	waitpid(pid, &ws, 0);
	status("no stack for the handler", ws);
}

static unsigned long nowhere;

static void goes_nowhere(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = nowhere;
}

static void is_nowhere(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	say("signal %d code %d addr %p at %#llx, trap %lld", sig, si->si_code, si->si_addr,
		uc->uc_mcontext.gregs[REG_RIP], uc->uc_mcontext.gregs[REG_TRAPNO]);
	_exit(0);
}

/* A handler that returns to where no code can be, also to what is no address. */
static void return_nowhere(void)
{
	static const unsigned long all[] = {-1UL, -2UL, -4096UL, 1UL << 63, 0xffff800000000000, 1UL << 47, (1UL << 47) - 1, 8, 0};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		for (int handled = 0; handled < 2; handled++) {
			pid_t pid = fork();
			if (pid == 0) {
				on(SIGUSR1, goes_nowhere, 0);
				if (handled)
					on(SIGSEGV, is_nowhere, 0);
				nowhere = all[i];
				raise(SIGUSR1);
				_exit(1);
			}
			int ws;
			waitpid(pid, &ws, 0);
			status("to nowhere", ws);
		}
}

const struct row sigframe_rows[] = {
	{"sigframe.nowhere", return_nowhere},
	{"sigframe.overflow", overflow},
	{"sigframe.stacks", stacks},
	{"sigframe.state", state},
	{"sigframe.odd", odd_states},
	{"sigframe.faults", fault_contexts},
	{"sigframe.step", single_step},
	{"sigframe.nullchecks", null_checks},
	{"sigframe.barrier", write_barrier},
	{"sigframe.together", fault_and_signal},
	{0, 0},
};
