#include "cprogs.h"

#include <cpuid.h>
#include <ucontext.h>

/*
 * Faults that a program handles: what their frames say, where they lie, what the
 * handler changes, and that threads agree about what is to be done. Each comes so
 * often that all ways of delivering it are gone.
 */

enum { ROUNDS = 40 };

static char alternate[65536] __attribute__((aligned(64)));
static char *page; /* that nobody may touch */
static volatile int count, depth;
static volatile unsigned long seen[8];

static void *handle(int sig, void *h, int flags, const sigset_t *mask)
{
	struct sigaction old, sa = {.sa_sigaction = (void (*)(int, siginfo_t *, void *))h, .sa_flags = flags | SA_SIGINFO};
	if (mask)
		sa.sa_mask = *mask;
	sigaction(sig, &sa, &old);
	return (void *)old.sa_sigaction;
}

static unsigned long first_word(const sigset_t *s)
{
	unsigned long w;
	memcpy(&w, s, sizeof w);
	return w;
}

static unsigned long blocked(void)
{
	sigset_t s;
	sigprocmask(SIG_BLOCK, 0, &s);
	return first_word(&s);
}

static sigset_t set_of(int sig)
{
	sigset_t s;
	sigemptyset(&s);
	if (sig)
		sigaddset(&s, sig);
	return s;
}

static void alternate_stack(int flags)
{
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate, .ss_flags = flags};
	sigaltstack(&ss, 0);
}

static int inside(const void *p) { return (const char *)p >= alternate && (const char *)p < alternate + sizeof alternate; }

/* Instructions that fault. */
#define FAULTS(F) \
	F(maps, "movb $1, (%0)", SIGSEGV) \
	F(null, "xor %0, %0; mov (%0), %0", SIGSEGV) \
	F(wild, "mov $0x8000000000000000, %0; mov (%0), %0", SIGSEGV) \
	F(halt, "hlt", SIGSEGV) \
	F(beyond, "movb 4096(%0), %b0", SIGBUS) \
	F(divide, "xor %0, %0; idivl %k0", SIGFPE) \
	F(invalid, "ud2", SIGILL) \
	F(trap, "int3", SIGTRAP)

static unsigned long landing;
static char *none, *both; /* what page can be */

/* place is an address as it is in every run. */
static long place(long addr)
{
	if (addr >= (long)none && addr < (long)none + 8192)
		return addr - (long)none;
	return addr >= (long)both && addr < (long)both + 8192 ? 0x10000 + addr - (long)both : addr;
}

static void told(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	char *fp = (char *)uc->uc_mcontext.fpregs;
	if (count++ == 0 || count == ROUNDS) {
		long addr = (long)si->si_addr, cr2 = place(r[REG_CR2]);
		addr = si->si_code <= 0 ? 0 : addr == r[REG_RIP] ? 0xc0de : place(addr);
		say("signal %d info %d code %d errno %d addr %lx", sig, si->si_signo, si->si_code, si->si_errno, addr);
		say("  error %llx trap %lld cr2 %lx old mask %llx mask %lx flags %lx", r[REG_ERR], r[REG_TRAPNO], cr2,
		    r[REG_OLDMASK], first_word(&uc->uc_sigmask), uc->uc_flags);
		say("  segments %llx aligned %lu %lu state at %ld info at %ld link %d", r[REG_CSGSFS], (unsigned long)uc % 16,
		    (unsigned long)fp % 64, fp - (char *)uc, (char *)si - (char *)uc, uc->uc_link != 0);
		say("  stack %d size %zu flags %#x blocked %lx below the red zone %d", uc->uc_stack.ss_sp == alternate,
		    uc->uc_stack.ss_size, uc->uc_stack.ss_flags, blocked(), (char *)uc < (char *)r[REG_RSP] - 128);
		unsigned char zero[128 - 24] = {0};
		say("  rest of info %d", memcmp((char *)si + 24, zero, sizeof zero) != 0 && si->si_code != SI_KERNEL);
	}
	r[REG_RIP] = landing;
}

static void codes(void)
{
	/* The file has one page, and two are mapped. */
	int fd = open("file", O_RDWR | O_CREAT, 0600);
	if (ftruncate(fd, 4096) != 0)
		return;
	both = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	none = mmap(0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#define TRY(name, text, sig) \
	page = sig == SIGBUS ? both : none; \
	handle(sig, told, 0, 0); \
	say(#name); \
	for (count = 0; count < ROUNDS;) { \
		unsigned long p = (unsigned long)page; \
		__asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %1\n mov %2, %%rbx\n" text "\n 1:" \
			: "+&r"(p), "=m"(landing) : "r"(p) : "rax", "rbx", "rdx", "memory", "cc"); \
	}
	FAULTS(TRY)
	/* A later signal tells of the last fault, too. */
	page = none;
	handle(SIGUSR1, told, 0, 0);
	count = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n mov $62, %%eax\n mov %1, %%edi\n mov $10, %%esi\n syscall\n 1:"
		: "=m"(landing) : "r"(getpid()) : "rax", "rdi", "rsi", "rcx", "r11", "memory");
}

/* Where handlers run, and which signals they block. */

static void fault(void)
{
	__asm__ volatile("movb $1, (%0)" : : "r"(page) : "memory");
}

static void skip(ucontext_t *uc) { uc->uc_mcontext.gregs[REG_RIP] += 3; } /* movb $1, (%rax) and the like */

static void deeper(int sig, siginfo_t *si, void *context)
{
	char here;
	(void)si;
	if (count == 0 || count == ROUNDS - 1)
		say("signal %d at depth %d on it: %d blocked %lx stack's flags %#x", sig, depth, inside(&here), blocked(),
		    ((ucontext_t *)context)->uc_stack.ss_flags);
	if (++depth < 3)
		__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
	depth--;
	skip(context);
}

static void again(const char *what, int flags, int mask, int altflags)
{
	sigset_t s = set_of(mask);
	handle(SIGSEGV, deeper, flags, &s);
	if (altflags >= 0)
		alternate_stack(altflags);
	say("%s", what);
	for (count = 0; count < ROUNDS; count++)
		__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
	say("blocked afterwards %lx", blocked());
}

static void once(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	count++;
	skip(context);
}

static void child_faults(const char *what, int flags, int n, int mask)
{
	pid_t p = fork();
	if (p == 0) {
		sigset_t s = set_of(mask);
		sigprocmask(SIG_BLOCK, &s, 0);
		if (flags >= 0)
			handle(SIGSEGV, once, flags, 0);
		while (n--)
			__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
		_exit(7);
	}
	int ws;
	waitpid(p, &ws, 0);
	status(what, ws);
}

static void stacks(void)
{
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	again("here", SA_NODEFER, SIGUSR1, -1);
	again("alternate", SA_NODEFER | SA_ONSTACK, SIGUSR2, 0);
	again("not wanted", SA_NODEFER, 0, SS_ONSTACK);
	again("disarmed", SA_NODEFER | SA_ONSTACK, 0, (int)(1U << 31));
	again("none", SA_NODEFER | SA_ONSTACK, 0, SS_DISABLE);
	child_faults("forked", -1, 0, 0);
	child_faults("handled", 0, ROUNDS, 0);
	child_faults("once only", SA_RESETHAND, 2, 0);
	child_faults("blocked", 0, 1, SIGSEGV);
	depth = 0;
	pid_t p = fork();
	if (p == 0) { /* a fault in its own handler */
		handle(SIGSEGV, deeper, 0, 0);
		fault();
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	status("in its own handler", ws);
	handle(SIGSEGV, (void *)SIG_IGN, 0, 0);
	child_faults("ignored", -1, 1, 0);
	handle(SIGSEGV, (void *)SIG_DFL, 0, 0);
	child_faults("default", -1, 1, 0);
	p = fork();
	if (p == 0) { /* nowhere to put it */
		handle(SIGSEGV, once, 0, 0);
		__asm__ volatile("mov %0, %%rsp\n movb $1, (%0)" : : "a"(page) : "memory");
	}
	waitpid(p, &ws, 0);
	status("no stack", ws);
}

/* What a handler changes. */

static int what;

static void changes(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
	unsigned mxcsr;
	(void)sig, (void)si;
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	seen[0] = mxcsr, seen[1] = fp->mxcsr, seen[2] = fp->_xmm[7].element[0];
	__asm__ volatile("pcmpeqd %%xmm7, %%xmm7\n pcmpeqd %%xmm8, %%xmm8" : : : "xmm7", "xmm8");
	skip(uc);
	if (what & 1)
		fp->_xmm[7].element[0] = 0x1111;
	if (what & 2)
		uc->uc_mcontext.gregs[REG_RBX] = 0x2222;
	if (what & 4)
		sigaddset(&uc->uc_sigmask, SIGUSR2);
	if (what & 8)
		raise(SIGUSR1); /* blocked until the return */
	if (what & 16)
		fp->mxcsr = 0x9f80;
	if (what & 32)
		uc->uc_mcontext.gregs[REG_EFL] |= 1 | 0x400;
	count++;
}

static void late(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si, (void)context;
	depth = depth * 10 + count;
}

static void returns(void)
{
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t s = set_of(SIGUSR1), none = set_of(0);
	handle(SIGSEGV, changes, 0, &s);
	handle(SIGUSR1, late, 0, 0);
	for (what = 0; what < 64; what++) {
		unsigned long rbx = 0, low = 0, high = 0, flags = 0;
		unsigned mxcsr = 0x3f80;
		depth = 0;
		for (count = 0; count < 3;) {
			__asm__ volatile(
				"ldmxcsr %4\n mov $0x77, %%edx\n movd %%edx, %%xmm7\n movd %%edx, %%xmm8\n mov $0x55, %%ebx\n"
				"clc\n movb $1, (%5)\n lea -128(%%rsp), %%rsp\n pushfq\n pop %3\n lea 128(%%rsp), %%rsp\n cld\n mov %%rbx, %0\n movq %%xmm7, %1\n movq %%xmm8, %2\n stmxcsr %4"
				: "=&r"(rbx), "=&r"(low), "=&r"(high), "=&r"(flags), "+m"(mxcsr) : "a"(page)
				: "rbx", "rdx", "xmm7", "xmm8", "memory", "cc");
			if (count < 3)
				mxcsr = 0x3f80;
		}
		say("%d: rbx %lx xmm7 %lx xmm8 %lx flags %lx mxcsr %x, in the handler %lx %lx %lx, blocked %lx, late %d", what, rbx, low,
		    high, flags & 0x401, mxcsr, seen[0], seen[1], seen[2], blocked(), depth);
		mxcsr = 0x1f80;
		__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
		sigprocmask(SIG_SETMASK, &none, 0);
	}
}

/* All of the extended state, in registers that only some processors have. */

static void wide(void)
{
	unsigned a, b, c, d;
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle(SIGSEGV, changes, 0, 0);
	what = 0;
	__cpuid_count(7, 0, a, b, c, d);
	unsigned char in[64] __attribute__((aligned(64))), out[64] __attribute__((aligned(64)));
	for (int i = 0; i < 64; i++)
		in[i] = i * 7;
	int wrong = 0;
	for (count = 0; count < ROUNDS;) {
		if (b & 1 << 16) /* AVX-512 */
			__asm__ volatile(
				"vmovdqa64 (%0), %%zmm7\n vmovdqa64 (%0), %%zmm23\n kmovw %k3, %%k3\n movb $1, (%2)\n"
				"vpxorq %%zmm7, %%zmm23, %%zmm23\n vptestmq %%zmm23, %%zmm23, %%k1\n kortestw %%k1, %%k1\n setnz %b3\n"
				"vmovdqa64 %%zmm7, (%1)\n vzeroupper"
				: "+r"(*(unsigned char **)&(unsigned char *){in}), "+r"(*(unsigned char **)&(unsigned char *){out}) : "a"(page), "r"(wrong) : "memory", "cc", "xmm7", "xmm8");
		else {
			count = ROUNDS;
			memcpy(out, in, sizeof out);
		}
		wrong += memcmp(in, out, sizeof in) != 0;
	}
	say("wrong %d", wrong);
}

/* What is done is one thing for all who share it, whole. */

static volatile int stop, torn, by[2];

static void one(int sig, siginfo_t *si, void *context)
{
	char here;
	(void)sig, (void)si;
	torn += !inside(&here) || blocked() != (1UL << (SIGSEGV - 1) | 1UL << (SIGUSR1 - 1));
	by[0]++;
	skip(context);
}

static void other(int sig, siginfo_t *si, void *context)
{
	char here;
	(void)sig, (void)si;
	torn += inside(&here) || blocked() != 1UL << (SIGUSR2 - 1);
	by[1]++;
	skip(context);
}

static void choose(int n)
{
	sigset_t s = set_of(n ? SIGUSR2 : SIGUSR1);
	handle(SIGSEGV, n ? (void *)other : (void *)one, n ? SA_NODEFER : SA_ONSTACK, &s);
}

static void *chooser(void *unused)
{
	for (unsigned i = 0; !stop; i++)
		choose(i % 2);
	return unused;
}

static void race(void)
{
	pthread_t t;
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	alternate_stack(0);
	choose(0);
	pthread_create(&t, 0, chooser, 0);
	for (int i = 0; i < 200000 && (i < 2000 || !by[0] || !by[1]); i++)
		__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
	stop = 1;
	pthread_join(t, 0);
	say("torn %d, both %d", torn, by[0] && by[1]);
	/* After the call has returned, no thread does what was before. */
	int stale = 0;
	for (int i = 0; i < 200; i++) {
		by[0] = by[1] = 0;
		choose(i % 2);
		__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
		stale += by[i % 2] != 1;
	}
	say("stale %d torn %d", stale, torn);
}

/* Threads, and processes that share what signals do. */

static volatile int turn;

static void *faults(void *unused)
{
	for (int i = 0; i < ROUNDS; i++)
		__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
	return unused;
}

static void *waits(void *unused)
{
	while (turn == 0)
		usleep(1000);
	return faults(unused);
}

static int sharer(void *unused)
{
	(void)unused;
	handle(SIGSEGV, other, SA_NODEFER, &(sigset_t){{1UL << (SIGUSR2 - 1)}});
	_exit(0);
}

static void shared(void)
{
	pthread_t t;
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle(SIGSEGV, once, 0, 0);
	count = 0;
	pthread_create(&t, 0, faults, 0);
	pthread_join(t, 0);
	say("a new thread: %d", count);
	turn = 0;
	pthread_create(&t, 0, waits, 0);
	usleep(20000);
	choose(1); /* for a thread that exists */
	turn = 1;
	pthread_join(t, 0);
	say("told by another: %d torn %d", by[1], torn);
	handle(SIGSEGV, once, 0, 0);
	by[1] = 0;
	char *stack = malloc(65536);
	int ws, pid = clone(sharer, stack + 65536, CLONE_VM | CLONE_SIGHAND | SIGCHLD, 0);
	waitpid(pid, &ws, 0);
	faults(0);
	say("told by another process: %d torn %d", by[1], torn);
	pid = clone(sharer, stack + 65536, CLONE_VM | SIGCHLD, 0);
	handle(SIGSEGV, once, 0, 0);
	waitpid(pid, &ws, 0);
	count = 0;
	faults(0);
	say("not told by one that does not share them: %d", count);
	pid = fork();
	if (pid == 0) {
		count = 0;
		faults(0);
		_exit(count);
	}
	waitpid(pid, &ws, 0);
	status("a child", ws);
	say("+"); /* a new program has none */
	char *args[] = {"cprogs", "+fault", 0};
	pid = vfork();
	if (pid == 0) {
		execv("/proc/self/exe", args);
		_exit(99);
	}
	waitpid(pid, &ws, 0);
	status("a new program", ws);
	count = 0;
	faults(0);
	say("and here: %d", count);
}

/* A fault in code that follows a call which is made often. */

static unsigned long site;
static char readable[64];

static void after_call(int sig, siginfo_t *si, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)sig, (void)si;
	seen[0] = r[REG_RIP] - site;
	r[REG_RBX] = (unsigned long)readable;
	count++;
}

static void sites(void)
{
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle(SIGSEGV, after_call, 0, 0);
	count = 0;
	for (int i = 0; i < 200; i++) {
		unsigned long rbx = (unsigned long)(i % 3 ? readable : page), got = 1;
		__asm__ volatile(
			"lea 1f(%%rip), %%rdx\n mov %%rdx, %2\n mov $110, %%eax\n nop\n 1: syscall\n mov (%0), %1\n nop\n nop\n nop"
			: "+b"(rbx), "=&D"(got), "=m"(site) : : "rax", "rcx", "rdx", "r11", "memory");
		if (got != 0 || (i % 3 == 0 && seen[0] != 2))
			say("round %d: got %lx at %ld", i, got, (long)seen[0]);
	}
	say("handled %d", count);
}

/* Signals from outside come between, never inside of what blocks them. */

static volatile int within, wrong, came;

static void blocks(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	within = 1;
	for (volatile int i = 0; i < 50; i++)
		;
	within = 0;
	skip(context);
}

static void comes(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si, (void)context;
	wrong += within;
	came++;
}

static void *sender(void *to)
{
	while (!stop) {
		pthread_kill(*(pthread_t *)to, SIGUSR1);
		sched_yield();
	}
	return to;
}

static void storm(void)
{
	pthread_t t, self = pthread_self();
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t s = set_of(SIGUSR1);
	handle(SIGSEGV, blocks, 0, &s);
	handle(SIGUSR1, comes, 0, 0);
	stop = 0;
	pthread_create(&t, 0, sender, &self);
	unsigned long lost = 0;
	for (int i = 0; i < 3000 || (i < 1000000 && came < 100); i++) {
		unsigned long a = i, b = ~a;
		__asm__ volatile("movq %0, %%xmm9\n movb $1, (%2)\n movq %%xmm9, %1" : "+r"(a), "=r"(b) : "a"(page) : "xmm9", "memory");
		lost += a != b;
	}
	stop = 1;
	pthread_join(t, 0);
	say("wrong %d lost %lu came %d blocked %lx", wrong, lost, came >= 100, blocked());
}

const struct row sigfault_rows[] = {
	{"sigfault.codes", codes},
	{"sigfault.stacks", stacks},
	{"sigfault.returns", returns},
	{"sigfault.wide", wide},
	{"sigfault.race", race},
	{"sigfault.shared", shared},
	{"sigfault.sites", sites},
	{"sigfault.storm", storm},
	{0, 0},
};
