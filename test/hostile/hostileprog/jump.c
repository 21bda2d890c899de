// Jumps into the stub: to any byte of its text, and to its one system call that
// gives control back, with which a guest makes the calls that the stub may.
#include "hostile.h"

static volatile unsigned char *const text = (void *)STUB;

// The stub's text ends where nothing but zeros follow.
int stub_children(void)
{
	int n = STUB_TEXT;
	while (n > 0 && text[n - 1] == 0)
		n--;
	return n;
}

unsigned long jump_regs[16];
void *jump_to;

// jump loads all registers from jump_regs: rax rbx rcx rdx rsi rdi rbp rsp r8-r15.
static void __attribute__((noreturn)) jump(unsigned long to)
{
	jump_to = (void *)to;
	__asm__ volatile(
		"mov jump_regs(%rip), %rax\n mov jump_regs+8(%rip), %rbx\n mov jump_regs+16(%rip), %rcx\n"
		"mov jump_regs+24(%rip), %rdx\n mov jump_regs+32(%rip), %rsi\n mov jump_regs+40(%rip), %rdi\n"
		"mov jump_regs+48(%rip), %rbp\n mov jump_regs+56(%rip), %rsp\n mov jump_regs+64(%rip), %r8\n"
		"mov jump_regs+72(%rip), %r9\n mov jump_regs+80(%rip), %r10\n mov jump_regs+88(%rip), %r11\n"
		"mov jump_regs+96(%rip), %r12\n mov jump_regs+104(%rip), %r13\n mov jump_regs+112(%rip), %r14\n"
		"mov jump_regs+120(%rip), %r15\n jmp *jump_to(%rip)\n");
	__builtin_unreachable();
}

static void soon(int ms)
{
	struct itimerval t = {.it_value = {0, ms * 1000}};
	setitimer(ITIMER_REAL, &t, 0);
}

void jump_garbage(int n)
{
	soon(50);
	for (int i = 0; i < 16; i++)
		jump_regs[i] = random_value();
	jump(STUB + n);
}

static char scratch[65536] __attribute__((aligned(4096)));

// What the stub's registers may hold where it is entered properly.
void jump_plausible(int n)
{
	soon(50);
	for (int i = 0; i < 16; i++)
		jump_regs[i] = plausible(scratch);
	jump_regs[0] = rand() % 512;
	jump_regs[1] = rand() % 4;
	jump_regs[7] = (unsigned long)scratch + 32768;
	jump_regs[12] = rand() % 2 ? AREAS + 0xf000 : (unsigned long)scratch;
	jump_regs[13] = SLOTS;
	jump_regs[14] = AREAS;
	jump_regs[15] = SLOTS + 0x300;
	jump(STUB + n);
}

static sigjmp_buf back;
static volatile long result;

static void trapped(int sig, siginfo_t *info, void *uc)
{
	(void)sig, (void)info;
	result = ((ucontext_t *)uc)->uc_mcontext.gregs[REG_RAX];
	siglongjmp(back, 1);
}

// gadget makes a host call from the stub's text, where SYSCALL is followed by
// INT3, and gives its result.
long gadget(long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e, unsigned long f)
{
	static int at;
	struct sigaction sa = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
	sigaction(SIGTRAP, &sa, 0);
	while (!(text[at] == 0x0f && text[at + 1] == 0x05 && (text[at + 2] == 0xcc || (text[at + 2] == 0xcd && text[at + 3] == 3))))
		if (++at >= STUB_TEXT - 3) {
			puts("the stub has no system call that gives control back");
			kill(getppid(), SIGKILL); // the test tests nothing
			_exit(9);
		}
	if (sigsetjmp(back, 1))
		return result;
	unsigned long sp;
	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	unsigned long regs[16] = {nr, 0, 0, c, b, a, 0, sp - 4096, e, f, d, 0, 0, 0, 0, 0};
	memcpy(jump_regs, regs, sizeof regs);
	jump(STUB + at);
}

// Parts of the stub, and what is not the guest's either.
static unsigned long target(int n)
{
	switch (n % 8) {
	case 0: return STUB;
	case 1: return TABLE;
	case 2: return AREAS;
	case 3: return SLOTS;
	case 4: return getauxval(AT_SYSINFO_EHDR);
	case 5: return 0x400000;
	case 6: return 0x7ffd00000000UL;
	default: return 0;
	}
}

void gadget_unmap(int n)
{
	unsigned long at = target(n), len = n % 8 == 7 ? 0x7ffcfffff000UL : 0x10000;
	alarm(1);
	switch (n / 8) {
	case 0: gadget(SYS_munmap, at, len, 0, 0, 0, 0); break;
	case 1: gadget(SYS_mprotect, at, len, 0, 0, 0, 0); break;
	case 2: gadget(SYS_mprotect, at, len, 7, 0, 0, 0); break;
	case 3: gadget(SYS_mmap, at, len, 7, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); break;
	default: gadget(SYS_mremap, at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, 0x10000000, 0); break;
	}
	// Whoever comes here has the call behind it, and goes on.
	for (int i = 0; i < 20; i++) {
		free(malloc(300000));
		if (fork() == 0)
			_exit(0);
	}
	while (wait(0) > 0)
		;
}

void gadget_close(int n)
{
	alarm(1);
	gadget(SYS_close, n, 0, 0, 0, 0, 0);
	// The sentry's doorbell may be gone now: calls that sleep, files to map.
	usleep(20000);
	int fd = open("/etc/passwd", O_RDONLY);
	mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fork() == 0)
		_exit(0);
	wait(0);
}

// Processes and threads that the sentry did not order.
void gadget_clone(int n)
{
	alarm(1);
	char *stack = malloc(65536);
	if (n % 3 == 0) {
		gadget(SYS_clone, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0, 0);
	} else if (n % 3 == 1) {
		gadget(SYS_clone, SIGCHLD | CLONE_PARENT | CLONE_VM, (unsigned long)stack + 65536, 0, 0, 0, 0);
	} else {
		gadget(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
			(unsigned long)stack + 65536, 0, 0, 0, 0);
	}
	for (int i = 0; i < 200; i++)
		syscall(SYS_getppid);
	_exit(0); // whoever of them comes here
}

// Any call of those that the filter knows, with plausible arguments.
void gadget_any(int n)
{
	static const int known[] = {SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_msync, SYS_mincore,
		SYS_arch_prctl, SYS_set_tid_address, SYS_gettid, SYS_dup, SYS_close, SYS_write, SYS_rt_sigreturn};
	alarm(1);
	for (int i = 0; i < 100; i++)
		gadget(known[(n + i) % 14], plausible(scratch), plausible(scratch), plausible(scratch), plausible(scratch), plausible(scratch), plausible(scratch));
}
