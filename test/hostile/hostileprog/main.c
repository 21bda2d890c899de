// A guest that means harm: each child does its worst, and the parent, which is
// the sandbox's first process, counts them and says at the end that it lives.
//
//	hostileprog calls SEED   random system calls with random arguments
//	hostileprog slot SEED    writes over the memory shared with the sentry
//	hostileprog stub SEED    jumps to every byte of the stub
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The layout of services/sentry/platform/layout.go.
#define STUB 0x7ffe00000000UL
#define SLOTS 0x7ffe20000000UL
#define SLOT_SIZE 65536

static volatile unsigned char *slot = (void *)SLOTS;

static unsigned long argument(char *page)
{
	switch (rand() % 12) {
	case 0: return 0;
	case 1: return -1UL;
	case 2: return rand() % 8;
	case 3: return rand() % 256;
	case 4: return (unsigned long)page + rand() % 65536;
	case 5: return rand();
	case 6: return ((unsigned long)rand() << 32) | rand();
	case 7: return STUB + rand() % 0x20000000;
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
	case SYS_rt_sigsuspend: case SYS_alarm: case SYS_setitimer:
		return 1;
	}
	return 0;
}

static void calls(void)
{
	char *page = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 400; i++) {
		int nr = rand() % 470;
		if (!left_out(nr))
			syscall(nr, argument(page), argument(page), argument(page), argument(page), argument(page), argument(page));
	}
}

static void *hammer(void *seed)
{
	unsigned s = (unsigned long)seed;
	for (;;)
		slot[rand_r(&s) % 0x1400] = rand_r(&s);
	return 0;
}

static void scribble(int n)
{
	char buf[4];
	pthread_t t;
	if (n % 2) { // while another thread makes calls
		pthread_create(&t, 0, hammer, (void *)(long)n);
		for (int i = 0; i < 2000; i++) {
			int fd = syscall(SYS_openat, -100, "/etc/passwd", 0);
			syscall(SYS_read, fd, buf, sizeof buf);
		}
		return;
	}
	for (int i = 0; i < 20000; i++) {
		slot[rand() % SLOT_SIZE] = rand();
		if (i % 50 == 0)
			syscall(SYS_getppid);
	}
}

int main(int argc, char **argv)
{
	int children = 40, died = 0;
	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "stub"))
		children = 0x700 / 8;
	for (int n = 0; n < children; n++) {
		int status, pid = fork();
		if (pid < 0)
			return 3;
		if (pid == 0) {
			srand(atoi(argv[2]) + n);
			alarm(1);
			if (!strcmp(argv[1], "calls"))
				calls();
			else if (!strcmp(argv[1], "slot"))
				scribble(n);
			else
				((void (*)(void))(STUB + 8 * n + rand() % 8))();
			_exit(0);
		}
		while (waitpid(pid, &status, 0) < 0)
			;
		died += status != 0;
	}
	printf("children %d\nalive\n", children);
	fprintf(stderr, "died %d\n", died);
	return 0;
}
