// Random calls, and writing over what is shared with the sentry.
#include "hostile.h"

static volatile unsigned char *slots = (void *)SLOTS;

unsigned long random_value(void)
{
	return (unsigned long)rand() << 42 ^ (unsigned long)rand() << 21 ^ rand();
}

unsigned long plausible(char *page)
{
	switch (rand() % 12) {
	case 0: return 0;
	case 1: return -1UL;
	case 2: return rand() % 8;
	case 3: return rand() % 256;
	case 4: return (unsigned long)page + rand() % 65536;
	case 5: return rand();
	case 6: return random_value();
	case 7: return rand() % 2 ? STUB_BASE + rand() % 0x30000000 : STUB - 0x100000 + rand() % 0x200000;
	case 8: return 4096 * (rand() % 16);
	case 9: return (unsigned long)"/tmp/x";
	case 10: return (unsigned long)page;
	default: return 1UL << (rand() % 64);
	}
}

// What would end the loop, or reach the parent, is left out.
static int left_out(int nr)
{
	switch (nr) {
	case SYS_fork: case SYS_vfork: case SYS_clone: case SYS_clone3: case SYS_exit: case SYS_exit_group:
	case SYS_kill: case SYS_tkill: case SYS_tgkill: case SYS_pause: case SYS_rt_sigreturn:
	case SYS_rt_sigsuspend: case SYS_alarm: case SYS_setitimer: case SYS_rt_sigqueueinfo:
	case SYS_rt_tgsigqueueinfo: case SYS_pidfd_send_signal:
		return 1;
	}
	return 0;
}

void calls(int n)
{
	(void)n;
	char *page = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	alarm(1);
	for (int i = 0; i < 400; i++) {
		int nr = rand() % 470;
		if (!left_out(nr))
			syscall(nr, plausible(page), plausible(page), plausible(page), plausible(page), plausible(page), plausible(page));
	}
}

static void *hammer(void *seed)
{
	unsigned s = (unsigned long)seed;
	for (;;)
		slots[rand_r(&s) % 0x1400] = rand_r(&s);
	return 0;
}

void scribble(int n)
{
	char buf[4];
	pthread_t t;
	alarm(1);
	if (n % 2) { // while another thread makes calls
		pthread_create(&t, 0, hammer, (void *)(long)n);
		for (int i = 0; i < 2000; i++) {
			int fd = syscall(SYS_openat, -100, "/etc/passwd", 0);
			syscall(SYS_read, fd, buf, sizeof buf);
		}
		return;
	}
	for (int i = 0; i < 20000; i++) {
		slots[rand() % SLOT_SIZE] = rand();
		if (i % 50 == 0)
			syscall(SYS_getppid);
	}
}

static void *work(void *unused)
{
	for (;;)
		free(malloc(200000)), syscall(SYS_getppid);
	return unused;
}

// Threads that write over each other's slots, and over those of threads to come.
void neighbours(int n)
{
	pthread_t t;
	alarm(1);
	for (int i = 0; i < 4; i++)
		pthread_create(&t, 0, work, 0);
	for (unsigned i = 0;; i++) {
		unsigned long at = (unsigned long)(rand() % 8) * SLOT_SIZE + rand() % 0x400;
		if (n % 3 == 0)
			slots[at] = rand();
		else if (n % 3 == 1) // numbers of requests and answers
			*(volatile unsigned *)&slots[(at & ~0x3ffUL) | (rand() % 2 ? 0 : 0x40)] = rand() % 4;
		else // the list of host calls
			*(volatile unsigned long *)&slots[(at & ~0x3ffUL) + 0x280 + rand() % 0x180 * 8] = plausible((char *)&at);
		if (i % 1000 == 0 && !fork())
			_exit(0);
	}
}
