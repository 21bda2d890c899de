#include "cprogs.h"

#include <cpuid.h>
#include <ucontext.h>
#include <unwind.h>

/*
 * Signals at sites that have been called so often that the sandbox delivers them
 * without a trap: the frame to the byte, the registers around it, and frames that
 * nobody could return to.
 */

/* What the processor holds at the call, and what it holds after it. */
struct state {
	uint64_t rbx, rbp, r12, r13, r14, r15, rdi, rsi, rdx, r8, r9, r10, rax, flags, unused[2];
	uint8_t zmm[32][64];
	uint64_t k[8];
	uint8_t x87[512]; /* FXSAVE */
} __attribute__((aligned(64)));

struct state fast_in, fast_out;
uint64_t fast_stack, fast_zmm;
extern char fast_after[];
void fast_kill(void);

__asm__(".text\n.balign 64\n.altmacro\n"
	".macro fast_load n\n vmovdqu64 fast_in+128+64*\\n(%rip), %zmm\\n\n.endm\n"
	".macro fast_store n\n vmovdqu64 %zmm\\n, fast_out+128+64*\\n(%rip)\n.endm\n"
	".macro fast_mask n\n kmovw fast_in+128+2048+8*\\n(%rip), %k\\n\n.endm\n"
	".type fast_kill, @function\nfast_kill:\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp, fast_stack(%rip)\n"
	"fxrstor64 fast_in+128+2048+64(%rip)\n"
	"cmpq $0, fast_zmm(%rip)\nje 1f\n"
	".set i, 0\n.rept 32\nfast_load %i\n.set i, i+1\n.endr\n"
	".set i, 0\n.rept 8\nfast_mask %i\n.set i, i+1\n.endr\n"
	"1: mov fast_in+0(%rip), %rbx\nmov fast_in+8(%rip), %rbp\nmov fast_in+16(%rip), %r12\n"
	"mov fast_in+24(%rip), %r13\nmov fast_in+32(%rip), %r14\nmov fast_in+40(%rip), %r15\n"
	"mov fast_in+48(%rip), %rdi\nmov fast_in+56(%rip), %rsi\nmov fast_in+64(%rip), %rdx\n"
	"mov fast_in+72(%rip), %r8\nmov fast_in+80(%rip), %r9\nmov fast_in+88(%rip), %r10\n"
	"pushq fast_in+104(%rip)\npopfq\n"
	"mov $62, %eax\nsyscall\nfast_after:\n"
	"pushfq\ncld\npopq fast_out+104(%rip)\n"
	"mov %rax, fast_out+96(%rip)\n"
	"mov %rbx, fast_out+0(%rip)\nmov %rbp, fast_out+8(%rip)\nmov %r12, fast_out+16(%rip)\n"
	"mov %r13, fast_out+24(%rip)\nmov %r14, fast_out+32(%rip)\nmov %r15, fast_out+40(%rip)\n"
	"mov %rdi, fast_out+48(%rip)\nmov %rsi, fast_out+56(%rip)\nmov %rdx, fast_out+64(%rip)\n"
	"mov %r8, fast_out+72(%rip)\nmov %r9, fast_out+80(%rip)\nmov %r10, fast_out+88(%rip)\n"
	"pushq $0x202\npopfq\n"
	"cmpq $0, fast_zmm(%rip)\nje 1f\n"
	".set i, 0\n.rept 32\nfast_store %i\n.set i, i+1\n.endr\n"
	"kmovw %k1, fast_out+128+2048+8(%rip)\nkmovw %k7, fast_out+128+2048+56(%rip)\n"
	"1: fxsave64 fast_out+128+2048+64(%rip)\nfninit\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
	".size fast_kill, .-fast_kill\n.noaltmacro\n");

enum { HOT = 48, ALONE = 0x240cd5 /* the arithmetic and direction flags, AC and ID */ };

static char stack[1 << 16] __attribute__((aligned(64)));
static volatile sig_atomic_t count;
static sigjmp_buf env;

/* prepare fills what the call starts with. */
static void prepare(uint64_t flags)
{
	fast_zmm = __builtin_cpu_supports("avx512f") != 0;
	memset(&fast_in, 0, sizeof fast_in);
	memset(&fast_out, 0, sizeof fast_out);
	uint64_t *r = &fast_in.rbx;
	for (int i = 0; i < 12; i++)
		r[i] = 0x0101010101010101 * (i + 1);
	fast_in.rdi = getpid();
	fast_in.rsi = SIGUSR1;
	fast_in.flags = flags;
	for (int i = 0; i < 32; i++)
		for (int k = 0; k < 64; k++)
			fast_in.zmm[i][k] = 3 * i + k;
	for (int i = 0; i < 8; i++)
		fast_in.k[i] = 0x1234 << i & 0xffff;
	__asm__ volatile("fninit\nfldpi\nfld1\nfxsave64 %0\nfninit" : "=m"(fast_in.x87));
	*(uint32_t *)(fast_in.x87 + 24) = 0x9fc0;
	if (!fast_zmm)
		for (int i = 0; i < 16; i++)
			memcpy(fast_in.x87 + 160 + 16 * i, fast_in.zmm[i], 16);
}

/* compare says which registers are not what they were. */
static void compare(const char *when)
{
	static const char *const names[] = {"rbx", "rbp", "r12", "r13", "r14", "r15", "rdi", "rsi", "rdx", "r8", "r9", "r10"};
	const uint64_t *in = &fast_in.rbx, *out = &fast_out.rbx;
	for (int i = 0; i < 12; i++)
		if (in[i] != out[i])
			say("%s: %s is %lx", when, names[i], out[i]);
	if ((fast_in.flags ^ fast_out.flags) & ALONE)
		say("%s: flags %lx", when, fast_out.flags);
	for (int i = 0; fast_zmm && i < 32; i++)
		if (memcmp(fast_in.zmm[i], fast_out.zmm[i], 64) != 0)
			say("%s: zmm%d is %02x %02x %02x", when, i, fast_out.zmm[i][0], fast_out.zmm[i][16], fast_out.zmm[i][32]);
	if (fast_zmm && (fast_in.k[1] != fast_out.k[1] || fast_in.k[7] != fast_out.k[7]))
		say("%s: k %lx %lx", when, fast_out.k[1], fast_out.k[7]);
	if (memcmp(fast_in.x87, fast_out.x87, 160) != 0)
		say("%s: x87 or mxcsr %x", when, *(uint32_t *)(fast_out.x87 + 24));
	if (!fast_zmm && memcmp(fast_in.x87 + 160, fast_out.x87 + 160, 256) != 0)
		say("%s: xmm", when);
	say("%s: result %ld", when, (long)fast_out.rax);
}

static void on(int sig, void *h, int flags)
{
	struct sigaction sa = {.sa_sigaction = (void (*)(int, siginfo_t *, void *))h, .sa_flags = flags | SA_SIGINFO};
	sigaction(sig, &sa, 0);
}

static void on_stack(void)
{
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0);
}

/* spoil leaves nothing in the registers. */
static void spoil(void)
{
	if (fast_zmm)
		__asm__ volatile("vzeroall\nvpxorq %%zmm17, %%zmm17, %%zmm17\nvmovdqa64 %%zmm17, %%zmm31\nkxnorw %%k1, %%k1, %%k1" : : : "memory");
	__asm__ volatile("xor %%ebx, %%ebx\nxor %%r12d, %%r12d\nxor %%r13d, %%r13d\nxor %%r14d, %%r14d\nxor %%r15d, %%r15d\n"
		"fninit\nfldz\nfldz\nfldz\nstc" : : : "rbx", "r12", "r13", "r14", "r15", "cc", "memory");
}

static uint8_t frame[8192], entered[576] __attribute__((aligned(64)));
static uint64_t entry_flags;

/* The frame as it lies there, and what the handler starts with. */
static void capture(int sig, siginfo_t *si, void *context)
{
	__asm__ volatile("fxsave64 %0" : "=m"(entered));
	entry_flags = __builtin_ia32_readeflags_u64();
	ucontext_t *uc = context;
	uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
	(void)sig, (void)si;
	count++;
	memcpy(frame, context, 304 + 128);
	memcpy(frame + 512, fp, *(uint32_t *)(fp + 468));
	spoil();
}

static void dump(const char *what, const uint8_t *p, int n)
{
	for (int i = 0; i < n; i += 32) {
		char line[80];
		int used = 0;
		for (int k = 0; k < 32 && i + k < n; k++) {
			snprintf(line + 2 * k, 3, "%02x", p[i + k]);
			used |= p[i + k];
		}
		if (used)
			say("%s %3x %s", what, i, line);
	}
}

static void whole_frame(void)
{
	on_stack();
	on(SIGUSR1, capture, SA_ONSTACK);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	sigprocmask(SIG_BLOCK, &s, 0);
	for (int i = 0; i < HOT; i++) {
		prepare(0x202);
		fast_kill();
		if (i == 0 || i == HOT - 1)
			compare(i ? "hot" : "cold");
	}
	say("count %d", count);
	ucontext_t *uc = (void *)frame;
	greg_t *g = uc->uc_mcontext.gregs;
	say("rip %d rsp %d rcx %d r11 %d", g[REG_RIP] == (long)fast_after, g[REG_RSP] == (long)fast_stack,
	    g[REG_RCX] == g[REG_RIP], g[REG_R11] == g[REG_EFL]);
	siginfo_t *si = (void *)(frame + 304);
	say("pid %d", si->si_pid == getpid());
	say("state at %lx of %lx", (long)uc->uc_mcontext.fpregs & 63, (long)uc->uc_mcontext.fpregs - (long)stack);
	g[REG_RSP] = g[REG_RDI] = 0;
	si->si_pid = 0;
	dump("frame", frame, 304 + 128);
	dump("state", frame + 512, *(uint32_t *)(frame + 512 + 468));
	say("handler: flags %lx", entry_flags & ~0x8d5ul);
	memset(entered + 160, 0, 416); /* compiled code has used xmm */
	dump("handler", entered, 512);
}

/* The next signal comes with this one's return, whose handler has other flags. */
static void leaves_flags(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si, (void)context;
	kill(getpid(), SIGUSR2);
	__asm__ volatile("pushfq\norq $0x40000, (%%rsp)\npopfq" : : : "cc", "memory");
}

/* Every flag that user code may set lives through it. */
static void flags(void)
{
	static const uint64_t all[] = {0x202, 0xcd7, 0x602, 0x8d7, 0x40202, 0x200202, 0x240ed7};
	on_stack();
	on(SIGUSR1, capture, SA_ONSTACK);
	for (int i = 0; i < HOT; i++) {
		prepare(0x202);
		fast_kill();
	}
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		char name[32];
		snprintf(name, sizeof name, "flags %lx", all[i]);
		prepare(all[i] & ~0x400ul);
		fast_kill();
		compare(name);
		say("saved %lx, in the handler %lx", *(long *)(frame + 40 + 17 * 8) & ~0x10000l, entry_flags & 0x240700);
	}
	struct sigaction sa = {.sa_sigaction = leaves_flags, .sa_flags = SA_SIGINFO};
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &sa, 0);
	on(SIGUSR2, capture, 0);
	for (int i = 0; i < HOT; i++) {
		prepare(0x202);
		fast_kill();
	}
	compare("one after the other");
	say("saved %lx, in the handler %lx", *(long *)(frame + 40 + 17 * 8) & ~0x10000l, entry_flags & 0x240700);
}

/* What a handler writes to the saved state is what the processor then has. */
static void change(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	ucontext_t *uc = context;
	uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
	unsigned a, off, c, d;
	count++;
	fp[160 + 16 * 3] = 0xe3; /* xmm3 */
	*(uint32_t *)(fp + 24) = 0x1f80;
	__cpuid_count(13, 2, a, off, c, d);
	fp[off + 16 * 4] = 0xe4; /* the upper half of ymm4 */
	if (fast_zmm) {
		__cpuid_count(13, 5, a, off, c, d);
		*(uint16_t *)(fp + off + 8 * 1) = 0x5aa5; /* k1 */
		__cpuid_count(13, 6, a, off, c, d);
		fp[off + 32 * 5] = 0xe5; /* the upper half of zmm5 */
		__cpuid_count(13, 7, a, off, c, d);
		fp[off + 64 * 1] = 0xe7; /* zmm17 */
	}
	greg_t *g = uc->uc_mcontext.gregs;
	g[REG_R15] = 15;
	g[REG_RAX] = -77;
	g[REG_RCX] = 1;
	g[REG_R11] = 2;
	g[REG_EFL] = 0x202 | 0x400 | 0x8d5; /* with the direction flag */
	spoil();
}

static void changed(void)
{
	on_stack();
	on(SIGUSR1, change, SA_ONSTACK);
	for (int i = 0; i < HOT; i++) {
		prepare(0x202);
		fast_kill();
		if (i == 0 || i == HOT - 1)
			compare(i ? "hot" : "cold");
	}
}

/* Frames that were tampered with. */

static int how;
static volatile long wanted_rip;

static void tamper(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
	uint32_t size = *(uint32_t *)(fp + 468);
	spoil();
	switch (how) {
	case 0: *(uint32_t *)(fp + 24) = 0xffffffff; break;     /* MXCSR */
	case 1: fp[512 + 15] = 0x80; break;                     /* the compacted format */
	case 2: fp[512 + 7] = 0x40; break;                      /* a component that is none */
	case 3: fp[512 + 20] = 1; break;                        /* the header's reserved bytes */
	case 4: fp[512 + 40] = 1; break;
	case 5: uc->uc_mcontext.fpregs = (void *)(fp + 16); break;
	case 6: *(uint32_t *)(fp + 512) = 0; *(uint64_t *)(fp + 472) = 2; break;
	case 7: uc->uc_mcontext.fpregs = (void *)0x123456789abcdef0; break;
	case 8: uc->uc_mcontext.fpregs = (void *)4096; break;
	case 9: *(uint32_t *)(fp + size - 4) = 0; break;        /* the second magic number */
	case 10: *(uint32_t *)(fp + 464) = 0; break;            /* the first */
	case 11: *(uint64_t *)(fp + 472) = 0; break;            /* components to restore: none */
	case 12: *(uint64_t *)(fp + 472) = 3; break;
	case 13: *(uint64_t *)(fp + 472) = 4; break;
	case 14: *(uint64_t *)(fp + 472) = -1; break;
	case 15: *(uint32_t *)(fp + 468) = 1; break;            /* sizes */
	case 16: *(uint32_t *)(fp + 480) = 1; break;
	case 17: *(uint64_t *)(fp + 512) = 0; break;            /* nothing that is not initial */
	case 18: uc->uc_flags = 0; break;
	case 19: uc->uc_mcontext.fpregs = 0; break;
	case 20: g[REG_RIP] = 0x8000000000000000; break;
	case 21: g[REG_RIP] = 0x7ffffffff000; break;
	case 22: g[REG_RIP] = 8; break;
	case 23: g[REG_EFL] = 0x40ffed5 & ~0x100; break;        /* all, but to trap */
	case 24: sigfillset(&uc->uc_sigmask); break;
	case 25: uc->uc_stack.ss_flags = 0x1234; break;
	case 26: uc->uc_stack.ss_size = 1; break;
	case 27: *(uint32_t *)(fp + 24) = 0xffffffff; *(uint32_t *)(fp + 464) = 0; break;
	}
}

enum { TAMPERS = 28 };

static void caught(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	sigset_t now;
	sigprocmask(0, 0, &now);
	say("signal %d code %d, rip %s, mask %d, then %d, state %x", sig, si->si_code,
	    g[REG_RIP] == wanted_rip ? "as it was" : g[REG_RIP] < 4096 || g[REG_RIP] >> 46 ? "wrong" : "elsewhere",
	    sigismember(&uc->uc_sigmask, SIGUSR1), sigismember(&now, SIGUSR1),
	    *(uint32_t *)((uint8_t *)uc->uc_mcontext.fpregs + 24));
	siglongjmp(env, 1);
}

static void tampered(void)
{
	on_stack();
	wanted_rip = (long)fast_after;
	for (volatile int i = 0; i < TAMPERS; i++) {
		pid_t p = fork();
		if (p == 0) {
			char name[32];
			snprintf(name, sizeof name, "tampered %d", i);
			on(SIGUSR1, capture, SA_ONSTACK);
			on(SIGSEGV, caught, SA_ONSTACK);
			on(SIGBUS, caught, SA_ONSTACK);
			how = i;
			for (int n = 0; n < HOT; n++) {
				prepare(0x202);
				if (n == HOT - 1)
					on(SIGUSR1, tamper, SA_ONSTACK);
				if (sigsetjmp(env, 1) == 0) {
					fast_kill();
					if (n == HOT - 1)
						compare(name);
				}
			}
			sigset_t s;
			stack_t ss;
			sigprocmask(0, 0, &s);
			sigaltstack(0, &ss);
			say("blocked %d, stack %d %zu", sigismember(&s, SIGUSR2), ss.ss_flags, ss.ss_size);
			_exit(i);
		}
		int ws;
		waitpid(p, &ws, 0);
		status("tampered", ws);
	}
}

/* No room for the frame, at a hot site. */
static void no_room(void)
{
	on(SIGUSR1, capture, 0);
	long pid = getpid();
	for (int i = 0; i < HOT; i++) {
		prepare(0x202);
		fast_kill();
	}
	char *m = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(m, 4096, PROT_NONE);
	on_stack();
	on(SIGSEGV, caught, SA_ONSTACK);
	/* The frame, its state, and the whole of it are where nothing can be written. */
	for (volatile int room = 128; room < 4096; room += 480)
		if (sigsetjmp(env, 1) == 0) {
			long r;
			__asm__ volatile("mov %%rsp, %%rbx\nmov %1, %%rsp\nmov $62, %%eax\nsyscall\nmov %%rbx, %%rsp"
				: "=&a"(r) : "r"(m + 4096 + room), "D"(pid), "S"((long)SIGUSR1) : "rbx", "rcx", "r11", "memory");
			say("room for it: %ld", r);
		}
}

/* Unwinders: with tables, and by the restorer's bytes. */

void by_bytes(void);
__asm__(".text\n.balign 16\n.skip 16, 0x90\n.type by_bytes, @function\nby_bytes:\nmov $15, %rax\nsyscall\n.size by_bytes, .-by_bytes\n.skip 16, 0x90\n");

static volatile sig_atomic_t depth, found;

static _Unwind_Reason_Code step(struct _Unwind_Context *c, void *arg)
{
	(void)arg;
	depth++;
	uintptr_t ip = _Unwind_GetIP(c);
	if (ip >= (uintptr_t)fast_after - 64 && ip <= (uintptr_t)fast_after + 64)
		found++;
	return _URC_NO_REASON;
}

static void unwind(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si, (void)context;
	if (++count >= HOT)
		_Unwind_Backtrace(step, 0);
}

static void unwound(void)
{
	on(SIGUSR1, unwind, 0);
	for (int kind = 0; kind < 2; kind++) {
		count = depth = found = 0;
		if (kind == 1) {
			struct {
				void *handler;
				unsigned long flags;
				void *restorer;
				unsigned long mask;
			} ksa = {(void *)unwind, SA_SIGINFO | 0x04000000, (void *)by_bytes, 0};
			err("restorer", syscall(SYS_rt_sigaction, SIGUSR1, &ksa, 0, 8));
		}
		for (int i = 0; i < HOT; i++) {
			prepare(0x202);
			fast_kill();
		}
		say("interrupted code %d", found);
	}
	dump("restorer", (void *)by_bytes, 9);
}

/* Many threads that signal each other while they compute. */

enum { THREADS = 4, ROUNDS = 400 };

static pthread_t storm_threads[THREADS];
static pthread_barrier_t storm_line;
static volatile long received;

static void hit(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si, (void)context;
	__atomic_fetch_add(&received, 1, __ATOMIC_RELAXED);
	__asm__ volatile("pcmpeqd %%xmm5, %%xmm5\nfninit" : : : "xmm5", "memory");
	if (received % 7 == 0)
		raise(SIGUSR2);
}

static void *storm(void *arg)
{
	long me = (long)arg, bad = 0;
	int p[2];
	pthread_barrier_wait(&storm_line);
	if (pipe(p) != 0)
		return (void *)1;
	for (long n = 0; n < ROUNDS; n++) {
		uint64_t in[2] = {n * me, n + me}, out[2];
		pthread_kill(storm_threads[(me + n) % THREADS], n % 3 ? SIGUSR1 : SIGUSR2);
		__asm__ volatile("movdqu %1, %%xmm5\nmov $39, %%eax\nsyscall\nmovdqu %%xmm5, %0"
			: "=m"(out) : "m"(in) : "rax", "rcx", "r11", "xmm5", "memory");
		bad += in[0] != out[0] || in[1] != out[1];
		char c = n, d = 0;
		bad += write(p[1], &c, 1) != 1;
		bad += read(p[0], &d, 1) != 1 || c != d;
		sigset_t s, old;
		sigfillset(&s);
		pthread_sigmask(SIG_BLOCK, &s, &old);
		bad += sigismember(&old, SIGUSR1) || sigismember(&old, SIGUSR2);
		pthread_sigmask(SIG_SETMASK, &old, 0);
	}
	close(p[0]);
	close(p[1]);
	pthread_barrier_wait(&storm_line);
	return (void *)bad;
}

static void storms(void)
{
	on(SIGUSR1, hit, SA_RESTART);
	on(SIGUSR2, hit, SA_RESTART | SA_NODEFER);
	pthread_barrier_init(&storm_line, 0, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&storm_threads[i], 0, storm, (void *)i);
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	on(SIGALRM, hit, SA_RESTART);
	pthread_barrier_wait(&storm_line);
	setitimer(ITIMER_REAL, &often, 0);
	pthread_barrier_wait(&storm_line);
	setitimer(ITIMER_REAL, &never, 0);
	long bad = 0;
	for (int i = 0; i < THREADS; i++) {
		void *r;
		pthread_join(storm_threads[i], &r);
		bad += (long)r;
	}
	say("bad %ld, received enough %d", bad, received > ROUNDS);
}

const struct row sigfast_rows[] = {
	{"sigfast.frame", whole_frame},
	{"sigfast.flags", flags},
	{"sigfast.changed", changed},
	{"sigfast.tampered", tampered},
	{"sigfast.room", no_room},
	{"sigfast.unwind", unwound},
	{"sigfast.storm", storms},
	{0, 0},
};
