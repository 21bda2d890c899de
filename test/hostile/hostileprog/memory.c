// Memory that is not there, or that goes while it is used.
#include "hostile.h"

static unsigned char *volatile page;

static void *run_page(void *unused)
{
	for (;;)
		((void (*)(void))page)();
	return unused;
}

static void nothing(int sig) { (void)sig, pthread_exit(0); }

// A thread makes calls from a page that another one changes, protects, remaps.
void remap_running(int n)
{
	static const unsigned char getppid_[] = {0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xc3};
	pthread_t t;
	int round = 0;
	alarm(1);
	page = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(page, getppid_, sizeof getppid_);
	signal(SIGSEGV, nothing), signal(SIGILL, nothing);
	for (;; round++) {
		if (round % 20 == 0)
			pthread_create(&t, 0, run_page, 0);
		switch (n % 4) {
		case 0:
			mmap(page, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			break;
		case 1:
			mprotect(page, 4096, 3), mprotect(page, 4096, 5);
			continue;
		case 2:
			munmap(page, 4096);
			mmap(page, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			break;
		default:
			page[4] = 0, page[5] = rand(), page[6] = rand();
		}
		memcpy(page, getppid_, sizeof getppid_);
	}
}

void map_over(int n)
{
	static const unsigned long at[] = {0, 0x1000, 0x400000, STUB, AREAS, SLOTS, 0x7ffcfffff000UL, 0x7ffffffff000UL,
		0x800000000000UL, 0xffff800000000000UL, 0xfffffffffffff000UL, 0x7ffd00000000UL};
	static const unsigned long len[] = {0, 1, 4096, 0x7ffcfffff000UL, 0x7fffffffffffUL, 1UL << 47, 1UL << 63, -4096UL, -1UL};
	alarm(2);
	for (int k = 0; k < 9; k++) {
		unsigned long a = at[n % 12], l = len[k];
		if (n >= 12) {
			// All but what we run on: kept, to see that the calls come back.
			if (a <= 0x1000 && l > 0x100000)
				continue;
			if (a == 0x400000 && l)
				continue;
		}
		mmap((void *)a, l, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		mmap((void *)a, l, 7, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		mprotect((void *)a, l, 0);
		madvise((void *)a, l, MADV_DONTNEED);
		mremap((void *)a, l, len[(k + 1) % 9], MREMAP_MAYMOVE);
		mremap((void *)0x10000000, 4096, l, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)a);
		msync((void *)a, l, MS_SYNC);
		mincore((void *)a, l, (void *)at[(n + k) % 12]);
		munmap((void *)a, l);
	}
}

// unmap_own takes away what it stands on.
void unmap_own(int n)
{
	volatile char here;
	unsigned long stack = (unsigned long)&here & ~0xfffUL, text = (unsigned long)unmap_own & ~0xfffUL;
	alarm(1);
	switch (n % 8) {
	case 0: munmap((void *)0, 0x7ffcfffff000UL); break;
	case 1: munmap((void *)(text - 0x10000), 0x100000); break;
	case 2: munmap((void *)(stack - 0x100000), 0x200000); break;
	case 3: mprotect((void *)(stack - 0x1000), 0x2000, PROT_NONE); break;
	case 4: munmap((void *)getauxval(AT_SYSINFO_EHDR), 8192); clock_gettime(0, (void *)&page); break;
	case 5: mprotect((void *)0x10000, 0x7ffcfffe0000UL, PROT_NONE); break;
	case 6: mmap((void *)(stack - 0x10000), 0x20000, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); break;
	default: mremap((void *)text, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)0x20000000);
	}
}

void remap_overlap(int n)
{
	alarm(2);
	char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 500; i++) {
		unsigned long from = rand() % 256, to = rand() % 256, len = 1 + rand() % 64, grown = n % 2 ? len : 1 + (unsigned)rand() % 64;
		mremap(p + from * 4096, len * 4096, grown * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, p + to * 4096);
		mmap(p + to * 4096, len * 4096, 3, (n & 2 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		p[to * 4096] = i;
		if (n & 4)
			mprotect(p + from * 4096, len * 4096, rand() & 7);
	}
}
