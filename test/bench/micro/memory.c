/* Calls on the caller's own memory, and faults. */
#define _GNU_SOURCE
#include "micro.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

static char *anonymous(size_t size)
{
	char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void protect(void *p, int prot)
{
	if (mprotect(p, page, prot) < 0)
		die("mprotect");
}

static void op_mmap(long n)
{
	while (n--)
		munmap(anonymous(page), page);
}

static void op_touch(long n)
{
	while (n--) {
		volatile char *p = anonymous(page);
		*p = 1;
		munmap((void *)p, page);
	}
}

enum { chunk = 4096 };

static void op_fault(long n)
{
	for (; n > 0; n -= chunk) {
		char *p = anonymous(chunk * page);
		madvise(p, chunk * page, MADV_NOHUGEPAGE);
		for (long i = 0; i < chunk; i++)
			p[i * page] = 1;
		munmap(p, chunk * page);
	}
}

static void op_mprotect(long n)
{
	char *p = anonymous(page);
	*p = 1;
	while (n--) {
		protect(p, PROT_READ);
		protect(p, PROT_READ | PROT_WRITE);
	}
	munmap(p, page);
}

static void allow(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	protect((void *)((unsigned long)info->si_addr & ~(page - 1UL)), PROT_READ | PROT_WRITE);
}

/* As a garbage collector's write barrier does it. */
static void op_segv(long n)
{
	struct sigaction old, sa = {.sa_sigaction = allow, .sa_flags = SA_SIGINFO};
	if (sigaction(SIGSEGV, &sa, &old) < 0)
		die("sigaction");
	volatile char *p = anonymous(page);
	*p = 1;
	while (n--) {
		protect((void *)p, PROT_READ);
		*p = 2;
	}
	munmap((void *)p, page);
	sigaction(SIGSEGV, &old, 0);
}

const struct op memory[] = {
	{"mmap+munmap", op_mmap, 0},
	{"mmap+touch+munmap", op_touch, 0},
	{"page fault, anonymous", op_fault, chunk},
	{"mprotect pair", op_mprotect, 0},
	{"SIGSEGV handler+mprotect", op_segv, 0},
	{0},
};
