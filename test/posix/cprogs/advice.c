/* What madvise(2) refuses of locked memory, and what a child does not have. */
#include "cprogs.h"

#define PAGE 4096ul
enum { DONTNEED_LOCKED_ = 24, GUARD_INSTALL_ = 102 };

static char *pages(int n)
{
	char *p = mmap(0, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 7, n * PAGE);
	return p;
}

static void locked(void)
{
	static const int advice[] = {MADV_DONTNEED, MADV_FREE, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, DONTNEED_LOCKED_};
	for (size_t i = 0; i < sizeof advice / sizeof *advice; i++) {
		char *p = pages(4);
		mlock(p + 2 * PAGE, PAGE);
		say("%d", advice[i]);
		err("locked", madvise(p + 2 * PAGE, PAGE, advice[i]));
		err("part of it", madvise(p, 4 * PAGE, advice[i]));
		if (advice[i] == MADV_DONTNEED || advice[i] == DONTNEED_LOCKED_)
			say("%d %d %d %d", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
		munlock(p + 2 * PAGE, PAGE);
		err("unlocked", madvise(p + 2 * PAGE, PAGE, advice[i]));
	}
	char *s = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mlock(s, PAGE);
	err("remove", madvise(s, PAGE, MADV_REMOVE));
	munlock(s, PAGE);
	err("remove", madvise(s, PAGE, MADV_REMOVE));
	/* enough of them that the kernel may leave such memory to its own stub */
	char *p = pages(32);
	for (int i = 0; i < 32; i++)
		madvise(p + i * PAGE, PAGE, MADV_DONTNEED);
	p[PAGE] = 9;
	mlock(p, 4 * PAGE);
	err("after many", madvise(p + PAGE, PAGE, MADV_DONTNEED));
	say("%d", p[PAGE]);
}

/* mapped says whether /proc/self/maps has p. */
static int mapped(const char *p)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	int found = 0;
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (unsigned long)p >= from && (unsigned long)p < to)
			found = 1;
	if (f)
		fclose(f);
	return found;
}

static void childs(const char *what, char *p)
{
	if (fork() == 0) {
		say("%s: %d %d %d", what, mapped(p), mapped(p + PAGE), mapped(p + 2 * PAGE));
		err("taken", mmap(p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0);
		_exit(0);
	}
	wait(0);
}

static void dontfork(void)
{
	char *p = pages(32);
	for (int i = 8; i < 32; i++)
		munmap(p + i * PAGE, PAGE);
	childs("all", p);
	err("dontfork", madvise(p + PAGE, PAGE, MADV_DONTFORK));
	say("the parent: %d, %d", mapped(p + PAGE), p[PAGE]);
	childs("one not", p);
	err("dofork", madvise(p + PAGE, PAGE, MADV_DOFORK));
	childs("all again", p);
}

const struct row advice_rows[] = {
	{"advice.locked", locked},
	{"advice.dontfork", dontfork},
	{0, 0},
};
