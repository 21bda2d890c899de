// What the stub delivers faults by, and returns from their handlers by:
// platform/faults.go.
#include "hostile.h"

// Offsets in a slot, and the span of these words.
enum { ACTIONS_SET = 0x6500, ALT_STACK = 0x6508, FP_STATE = 0x6540, PATCHED = 0x6580, ACTIONS = 0x65c0, WORDS_END = 0x66c0 };

static volatile unsigned char *slot = (void *)SLOTS;
static char *page, *good;
static volatile int count;

static unsigned long own_slot(void)
{
	for (int i = 0; i < 8; i++) // whichever says that it is this thread's
		if ((unsigned)*(volatile unsigned long *)(SLOTS + i * SLOT_SIZE + 0x298 + 8) == (unsigned)syscall(SYS_gettid))
			return SLOTS + i * SLOT_SIZE;
	return SLOTS;
}

static void skip(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
	count++;
}

static void handle(void (*f)(int, siginfo_t *, void *), int how)
{
	struct sigaction sa = {.sa_sigaction = f, .sa_flags = how | SA_SIGINFO | SA_NODEFER};
	sigaction(SIGSEGV, &sa, 0);
	sigaction(SIGBUS, &sa, 0);
	sigaction(SIGILL, &sa, 0);
}

static void faults(int n)
{
	while (n--)
		__asm__ volatile("movb $1, (%0)" : : "a"(page) : "memory");
}

static void *hammer(void *unused)
{
	for (;;)
		slot[ACTIONS_SET + rand() % (WORDS_END - ACTIONS_SET)] = rand();
	return unused;
}

// forges changes the frame that it returns by.
static void forges(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	unsigned char *fp = (unsigned char *)uc->uc_mcontext.fpregs;
	skip(sig, si, context);
	for (int i = rand() % 3; i >= 0; i--)
		switch (rand() % 8) {
		case 0: uc->uc_mcontext.gregs[rand() % 23] = plausible(page); break;
		case 1: ((unsigned char *)uc)[rand() % 448] = rand(); break;
		case 2: fp[464 + rand() % 48] = rand(); break;  // what is there
		case 3: fp[512 + rand() % 64] = rand(); break;  // XSAVE's header
		case 4: fp[24 + rand() % 4] = rand(); break;    // MXCSR, also what may not be
		case 5: uc->uc_mcontext.fpregs = (void *)plausible(page); break;
		case 6: uc->uc_mcontext.gregs[REG_RIP] = STUB + rand() % STUB_TEXT; break;
		default: uc->uc_mcontext.gregs[REG_EFL] = random_value(); break;
		}
}

// child forks one that does not last.
static int child(void)
{
	if (fork())
		return 0;
	alarm(1);
	return 1;
}

// A return by a frame that lies anywhere.
static void return_from(unsigned long frame)
{
	__asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall" ::"r"(frame));
}

static void loops(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si, (void)context; // the same again, and nobody asks
}

static void *changes(void *unused)
{
	for (;;)
		handle(rand() % 2 ? skip : forges, rand() % 2 ? SA_ONSTACK : 0);
	return unused;
}

void frames(int n)
{
	static char alternate[65536];
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
	pthread_t t;
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	good = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	slot = (void *)own_slot();
	alarm(1);
	sigaltstack(&ss, 0);
	int on = rand() % 2 ? SA_ONSTACK : 0;
	handle(skip, on);
	faults(60);
	switch (n % 10) {
	case 0: // any of it is anything, all the time
		pthread_create(&t, 0, hammer, 0);
		faults(1000000);
		break;
	case 1: // the alternate stack is the stub's own, or nowhere
		for (unsigned long i = 0; i < 400; i++) {
			static const unsigned long at[] = {STUB, TABLE, AREAS, SLOTS, 0, -65536L, 0x7ffcfffff000, 0x7ffd00000000};
			*(volatile unsigned long *)&slot[ALT_STACK] = i % 2 ? at[i / 2 % 8] : plausible(page);
			*(volatile unsigned long *)&slot[ALT_STACK + 16] = i % 3 ? SLOT_SIZE : plausible(page);
			faults(1);
		}
		break;
	case 2: // the extended state is long, or of other components
		for (int i = 0; i < 400; i++) {
			*(volatile unsigned *)&slot[FP_STATE + 4] = i % 2 ? (unsigned)rand() % 20000 : plausible(page);
			if (i % 3 == 0)
				*(volatile unsigned long *)&slot[FP_STATE + 8] = random_value();
			if (i % 5 == 0)
				*(volatile unsigned *)&slot[FP_STATE + 16] = rand() % 20000;
			faults(1);
		}
		break;
	case 3: // all signals are handled, by anything
		for (int i = 0; i < 300; i++) {
			volatile unsigned long *a = (void *)&slot[ACTIONS + rand() % 8 * 32];
			a[0] = rand() % 2 ? (unsigned long)skip : plausible(page), a[1] = random_value(), a[2] = plausible(page), a[3] = random_value();
			*(volatile unsigned *)&slot[ACTIONS_SET] = 2;
			faults(1);
		}
		break;
	case 4: // nothing is rewritten
		for (int i = 0; i < 200; i++) {
			memset((void *)&slot[PATCHED], 0, 64);
			syscall(SYS_getppid);
			raise(SIGSEGV);
			faults(1);
		}
		break;
	case 5: // the frame is changed
		handle(forges, on);
		faults(100000);
		break;
	case 6: // a frame that nobody wrote, in memory of all kinds
		for (int i = 0; i < 30; i++)
			if (child()) {
				memset(good, rand() % 2 ? 0 : rand(), 4096);
				return_from(i % 3 ? plausible(page) : (unsigned long)good + 128 + rand() % 64);
			}
		while (wait(0) > 0)
			;
		break;
	case 7: // the stack is none
		for (int i = 0; i < 30; i++)
			if (child()) {
				unsigned long sp = i % 4 ? plausible(page) : AREAS + rand() % SLOT_SIZE;
				__asm__ volatile("mov %0, %%rsp; movb $1, (%1)" : : "r"(sp), "a"(page) : "memory");
			}
		while (wait(0) > 0)
			;
		break;
	case 8: // for ever, and yet it ends
		handle(loops, on);
		for (int i = 0; i < 3; i++)
			if (child())
				faults(1);
		faults(1);
		break;
	default: // while what is done changes
		pthread_create(&t, 0, changes, 0);
		faults(1000000);
	}
}
