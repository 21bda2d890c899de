// What the stub notes of memory that it maps without asking: platform/lease.go.
#include "hostile.h"

#define LEASE (SLOTS + 15UL * SLOT_SIZE)

enum { PAGES = 0xee00, SPANS = 16, LOG = 256 };

static volatile unsigned *lock = (void *)LEASE;
static volatile unsigned long *words = (void *)LEASE; // 2 the end, 3 the start, 4 the cursor
static volatile unsigned *logged = (void *)(LEASE + 0x28);
static volatile unsigned long *spans = (void *)(LEASE + 0x40);
static volatile unsigned char *bytes = (void *)(LEASE + 0x40 + 16 * SPANS);
static volatile unsigned long *entries = (void *)(LEASE + SLOT_SIZE - 16 * LOG);

static char *get(size_t n)
{
	return mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// churn makes calls that the stub can do, and some that it cannot.
static void churn(int rounds)
{
	char buf[4096];
	while (rounds--) {
		char *p = get(4 * 4096);
		mprotect(p, 4096, PROT_READ);
		madvise(p, 4 * 4096, MADV_DONTNEED);
		munmap(p + 4096, 4096);
		mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (rounds % 8 == 0) {
			int fd = open("/proc/self/maps", O_RDONLY);
			while (read(fd, buf, sizeof buf) > 0)
				;
			close(fd);
		}
		munmap(p, 4 * 4096);
	}
}

static void *churns(void *unused)
{
	for (;;)
		churn(1000);
	return unused;
}

// in_reservation makes calls that the stub can do outside of the lease.
static void in_reservation(char *r, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		char *p = r + i % 64 * 16 * 4096;
		mprotect(p, 8 * 4096, PROT_READ | PROT_WRITE);
		munmap(p + 4096, 4096);
		mmap(p, 8 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
}

// forge_log has the log say what was not done.
static void forge_log(int n)
{
	static const unsigned calls[] = {9, 10, 11, 0, 15};
	char *r = mmap(0, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_t t;
	if (n & 1)
		pthread_create(&t, 0, churns, 0);
	for (int round = 0; round < 200; round++) {
		in_reservation(r, 40);
		for (int i = 0; i < LOG; i++) {
			unsigned long at = n & 2 ? plausible((char *)&t) & -4096UL : (unsigned long)r + (2UL * i + 512UL * round) * 4096;
			entries[2 * i] = at + (rand() % 8 << 4) + calls[rand() % (n & 2 ? 5 : 2)];
			entries[2 * i + 1] = n & 2 && rand() % 4 == 0 ? plausible((char *)&t) : at + 4096;
		}
		for (int i = 0; n & 2 && i < 2 * SPANS; i++)
			spans[i] = rand() % 3 ? 0 : plausible((char *)&t);
		*logged = rand() % 4 ? LOG : plausible((char *)&t);
		churn(1);
		if (round % 50 == 0 && !fork())
			_exit(0);
	}
}

void lease(int n)
{
	pthread_t t;
	alarm(4);
	churn(30);
	if (n >= 16) {
		forge_log(n);
		return;
	}
	if (n % 2)
		pthread_create(&t, 0, churns, 0);
	switch (n % 8) {
	case 0: // the lock is kept by nobody
		*lock = 1;
		break;
	case 1: // or by a thread that does not know of it, or by the sentry
		*lock = n & 8 ? 0x80000000 : SLOTS >> 16;
		break;
	case 2: // every other page is mapped
		for (int round = 0; round < 20; round++) {
			for (int i = 0; i < PAGES; i++)
				bytes[i] = (i + round) % 2 ? 0x0b : 0;
			words[4] = words[2] - PAGES * 4096UL;
			churn(1);
		}
		return;
	case 3: // anything is
		for (;;)
			bytes[rand() % PAGES] = rand();
	case 4: // the words are wrong
	case 5:
		for (int i = 0; i < 3000; i++) {
			words[2 + rand() % 3] = rand() % 2 ? plausible((char *)&t) : words[2 + rand() % 3] + (rand() % 64 - 32) * 4096L;
			churn(1);
			if (i % 100 == 0 && !fork())
				_exit(0);
		}
		return;
	case 6: // the lease is somewhere else, and full, and the whole address space
		words[2] = SLOTS;
		words[3] = 0;
		words[4] = SLOTS - 4096;
		break;
	case 7: // the lock goes to and fro
		for (int i = 0; i < 200000; i++)
			*lock = rand() % 3 ? 0 : plausible((char *)&t);
		return;
	}
	churn(100);
	if (!fork())
		churn(100);
	execl("/proc/self/exe", "hostileprog", (char *)0);
}
