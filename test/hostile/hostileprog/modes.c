// Other ways into the kernel, other segments, other flags.
#include "hostile.h"

// code puts bytes on an executable page below 4 GiB, with a stack after it.
static unsigned char *code(const void *bytes, size_t n)
{
	unsigned char *p = mmap(0, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (p == MAP_FAILED)
		_exit(9);
	memcpy(p, bytes, n);
	return p;
}

// in32 goes on at p in a 32-bit code segment.
static void in32(unsigned char *p)
{
	__asm__ volatile("mov %0, %%rsp; push $0x23; push %1; lretq" ::"r"(p + 8000), "r"((unsigned long)p) : "memory");
	__builtin_unreachable();
}

static long int80(long nr, long a)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(0), "d"(0) : "memory");
	return r;
}

static void nothing(int sig) { (void)sig; }

void modes(int n)
{
	// mov $20,%eax (getpid); int $0x80 or sysenter, over and over; also far back.
	static const unsigned char calls[] = {0xb9, 0, 1, 0, 0, 0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xe2, 0xf7, 0xf4};
	static const unsigned char fork32[] = {0xb8, 2, 0, 0, 0, 0xcd, 0x80, 0xb8, 1, 0, 0, 0, 0xcd, 0x80, 0xf4};
	static const unsigned char enter[] = {0xb8, 20, 0, 0, 0, 0x89, 0xe5, 0x0f, 0x34, 0xf4};
	static const unsigned char sys32[] = {0xb8, 20, 0, 0, 0, 0x0f, 0x05, 0xf4};
	static const unsigned char spin[] = {0xeb, 0xfe};
	alarm(1);
	if (n >= 12) { // with a signal that comes into it
		struct itimerval every = {{0, 1000}, {0, 1000}};
		signal(SIGUSR1, nothing);
		signal(SIGVTALRM, nothing);
		setitimer(ITIMER_VIRTUAL, &every, 0);
	}
	switch (n % 12) {
	case 0:
		for (int i = 0; i < 400; i++)
			int80(i, i);
		break;
	case 1: in32(code(calls, sizeof calls)); break;
	case 2: in32(code(fork32, sizeof fork32)); break;
	case 3: in32(code(enter, sizeof enter)); break;
	case 4: in32(code(sys32, sizeof sys32)); break;
	case 5: in32(code(spin, sizeof spin)); break;
	case 6: __asm__ volatile("mov $39, %%eax; mov %%rsp, %%rbp; sysenter" ::: "rax", "memory"); break;
	case 7:
		for (long i = 0; i < 600; i++)
			if (i != SYS_exit && i != SYS_exit_group && i != SYS_fork && i != SYS_vfork && i != SYS_clone)
				syscall(i | 0x40000000, 0, 0, 0, 0, 0, 0);
		break;
	case 8: // the vsyscall page: its three calls, and beside them
		((long (*)(void *, void *))0xffffffffff600000UL)(0, 0);
		((long (*)(void *))0xffffffffff600400UL)(0);
		((long (*)(void *, void *, void *))0xffffffffff600800UL)(0, 0, 0);
		((long (*)(void *))0xffffffffff600001UL)(0);
		break;
	case 9: // numbers that are none
		for (long i = -600; i < 0; i++)
			syscall(i), syscall(i << 32 | 39);
		break;
	case 10: // selectors
		for (int s = 0; s < 128; s++)
			if (!fork()) {
				__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%fs; mov %0, %%gs; mov $39, %%eax; syscall" ::"r"(s) : "rax");
				_exit(0);
			}
		while (wait(0) > 0)
			;
		break;
	default: // 32-bit code in the stub itself
		in32((unsigned char *)0x10000);
	}
}

// Values that a base of a segment may have, or not.
static unsigned long base(int n)
{
	static const unsigned long all[] = {0, 1, SLOTS, SLOTS + 8, SLOTS + SLOT_SIZE, SLOTS + 0xfff0000, AREAS, STUB, TABLE,
		0x7ffeffffffffUL, 0x7fffffffefffUL, 0x400000, 0xffff800000000000UL, 0x8000000000000000UL};
	return all[n % 14];
}

void bases(int n)
{
	alarm(1);
	unsigned long b = base(n);
	if (n < 14) {
		syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, b);
		if (b < 1UL << 47)
			__asm__ volatile("wrgsbase %0" ::"r"(b));
	} else {
		syscall(SYS_arch_prctl, 0x1001, b);
		if (b < 1UL << 47)
			__asm__ volatile("wrfsbase %0" ::"r"(b)); // libc's thread is gone with it
	}
	// Calls that need no libc.
	long r;
	for (int i = 0; i < 2000; i++) {
		__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_getppid) : "rcx", "r11", "memory");
		__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_open), "D"("/etc/passwd"), "S"(0), "d"(0) : "rcx", "r11", "memory");
		__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_close), "D"(r) : "rcx", "r11", "memory");
	}
	__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_fork) : "rcx", "r11", "memory");
	__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
}

static void traced(int sig, siginfo_t *info, void *uc)
{
	static int steps;
	(void)sig, (void)info;
	if (++steps > 3000)
		((ucontext_t *)uc)->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

void flags(int n)
{
	//	TF      AC       DF     NT      IOPL    ID        all but TF    VM
	static const unsigned long all[] = {0x100, 0x40000, 0x400, 0x4000, 0x3000, 0x200000, 0x247ed5, 0x20000};
	unsigned long f = all[n % 8];
	struct sigaction sa = {.sa_sigaction = traced, .sa_flags = SA_SIGINFO};
	alarm(2);
	if (n >= 8)
		sigaction(SIGTRAP, &sa, 0);
	for (int i = 0; i < 50; i++) {
		long r, fd;
		__asm__ volatile("pushf; orq %1, (%%rsp); popf; syscall" : "=a"(r) : "r"(f), "a"(SYS_getppid) : "rcx", "r11", "memory", "cc");
		__asm__ volatile("pushf; orq %1, (%%rsp); popf; syscall"
			: "=a"(fd) : "r"(f), "a"(SYS_open), "D"("/etc/passwd"), "S"(0), "d"(0) : "rcx", "r11", "memory", "cc");
		__asm__ volatile("pushf; orq %1, (%%rsp); popf; syscall"
			: "=a"(r) : "r"(f), "a"(SYS_mmap), "D"(0), "S"(4096), "d"(3) : "rcx", "r11", "memory", "cc");
		__asm__ volatile("pushf; orq %1, (%%rsp); popf; syscall" : "=a"(r) : "r"(f), "a"(SYS_close), "D"(fd) : "rcx", "r11", "memory", "cc");
		__asm__ volatile("pushf; andq %0, (%%rsp); popf; cld" ::"r"(~f) : "memory", "cc");
	}
}
