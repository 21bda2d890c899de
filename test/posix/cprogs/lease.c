/*
 * Memory that a program maps, unmaps and protects again and again, as the sandbox
 * lets it do without being asked, held against a model of it: what /proc/self/maps
 * shows, what a page holds, and what a fault and an error are.
 */
#include "cprogs.h"

enum { page = 4096, pieces = 24, longest = 12 };

static sigjmp_buf fault_buf;
static volatile int touching;

static void faulted(int sig)
{
	if (!touching)
		_exit(99);
	siglongjmp(fault_buf, sig);
}

static int touch(volatile char *p, int writes)
{
	int s = sigsetjmp(fault_buf, 1);
	if (s == 0) {
		touching = 1;
		if (writes)
			*p = *p;
		else
			(void)*p;
	}
	touching = 0;
	return s;
}

static char *get(size_t size, int prot)
{
	return mmap(0, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* warm makes such calls so often that the sandbox takes its quickest way for them. */
static void warm(void)
{
	for (int i = 0; i < 64; i++) {
		char *p = get(2 * page, PROT_READ | PROT_WRITE);
		mprotect(p, page, PROT_READ);
		madvise(p, page, MADV_DONTNEED);
		munmap(p, 2 * page);
	}
}

/* piece is a mapping, page by page: its protection, or -1 where it has nothing, so that others may. */
struct piece {
	char *at;
	int n;
	signed char prot[2 * longest], tag[2 * longest];
};

/* where a piece is mapped: wherever there is room, in a place of its own of a reservation, at a hint. */
enum where { anywhere, reserved, hinted };

struct model {
	struct piece p[pieces];
	enum where where;
	char *reservation;
	unsigned random;
	int alone; /* nobody else maps anything */
	long bad, done;
};

static unsigned draw(struct model *m, unsigned n)
{
	m->random = m->random * 1664525 + 1013904223;
	return (m->random >> 8) % n;
}

static int draw_prot(struct model *m)
{
	static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
	return prots[draw(m, 6)];
}

static void check(struct model *m, int good)
{
	m->bad += !good;
}

static void fresh(struct model *m, struct piece *p, int from, int n, int prot)
{
	for (int i = from; i < from + n; i++) {
		p->prot[i] = prot;
		p->tag[i] = 0;
		if (prot == (PROT_READ | PROT_WRITE)) {
			check(m, p->at[i * page] == 0);
			p->at[i * page] = p->tag[i] = draw(m, 100) + 1;
		}
	}
}

/* put maps a piece. */
static char *put(struct model *m, struct piece *p, int prot)
{
	size_t size = p->n * page;
	char *at;
	switch (m->where) {
	case reserved:
		at = m->reservation + (p - m->p) * 2 * longest * page;
		p->at = mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (draw(m, 2) ? MAP_NORESERVE : 0), -1, 0);
		break;
	case hinted:
		at = (char *)0x200000000000 + ((unsigned long)draw(m, 1 << 20) << 20);
		p->at = mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		break;
	default:
		return get(size, prot);
	}
	check(m, p->at == at);
	return p->at;
}

static char *reserve(size_t size)
{
	return mmap(0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void step(struct model *m, int remaps)
{
	struct piece *p = &m->p[draw(m, pieces)];
	m->done++;
	if (p->n == 0) {
		int prot = draw_prot(m);
		p->n = 1 + draw(m, longest);
		p->at = put(m, p, prot);
		check(m, p->at != MAP_FAILED);
		fresh(m, p, 0, p->n, prot);
		return;
	}
	int from = draw(m, p->n), n = 1 + draw(m, p->n - from), holes = 0, prot = draw_prot(m);
	char *at = p->at + from * page;
	for (int i = from; i < from + n; i++)
		holes += p->prot[i] < 0;
	switch (draw(m, !remaps ? 6 : m->where == reserved ? 8 : 9)) {
	case 0:
		for (int i = 0; i < p->n; i++)
			if (p->prot[i] >= 0 && (m->where != reserved || m->alone))
				check(m, munmap(p->at + i * page, page) == 0);
		p->n = 0;
		break;
	case 1:
		if (holes)
			break;
		if (m->where == reserved && !m->alone) { /* a hole could become another's */
			check(m, mmap(at, n * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
			fresh(m, p, from, n, PROT_NONE);
			break;
		}
		check(m, munmap(at, n * page) == 0);
		memset(p->prot + from, -1, n);
		break;
	case 2:
	case 3:
		if (holes)
			break;
		check(m, mprotect(at, n * page - draw(m, page), prot) == 0);
		memset(p->prot + from, prot, n);
		break;
	case 4:
		if (holes)
			break;
		check(m, madvise(at, n * page, MADV_DONTNEED) == 0);
		for (int i = from; i < from + n; i++)
			p->tag[i] = 0;
		break;
	case 5:
		for (int i = from; i < from + n; i++)
			if (p->prot[i] > 0 && p->prot[i] & PROT_READ)
				check(m, p->at[i * page] == p->tag[i]);
		break;
	case 6:
		if (holes)
			break;
		check(m, mmap(at, n * page, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
		fresh(m, p, from, n, prot);
		break;
	case 7:
		if (holes < n) {
			check(m, mmap(at, n * page, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
			check(m, errno == EEXIST);
		}
		break;
	case 8:
		for (int i = 0; i < p->n; i++)
			if (p->prot[i] < 0 || p->prot[i] != p->prot[0])
				return;
		if (p->n > longest)
			return;
		at = mremap(p->at, p->n * page, 2 * p->n * page, MREMAP_MAYMOVE);
		if (at == MAP_FAILED) /* it is of several parts in the kernel's eyes */
			return;
		p->at = at;
		fresh(m, p, p->n, p->n, p->prot[0]);
		p->n *= 2;
		break;
	}
}

/* maps_say gives what /proc/self/maps has of a page: its protection, or -1. */
static char maps_text[1 << 20];

static void read_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY), n = 0, r;
	while ((r = read(fd, maps_text + n, sizeof maps_text - 1 - n)) > 0)
		n += r;
	maps_text[n] = 0;
	close(fd);
}

static int maps_say(char *at)
{
	unsigned long start, end;
	char prot[5];
	for (char *l = maps_text; *l; l = strchr(l, '\n') + 1) {
		if (sscanf(l, "%lx-%lx %4s", &start, &end, prot) == 3 && (unsigned long)at >= start && (unsigned long)at < end)
			return (prot[0] == 'r' ? PROT_READ : 0) | (prot[1] == 'w' ? PROT_WRITE : 0) | (prot[2] == 'x' ? PROT_EXEC : 0);
	}
	return -1;
}

/* taken says whether a piece has a page. */
static int taken(struct model *m, char *at)
{
	for (struct piece *p = m->p; p < m->p + pieces; p++)
		if (p->n && at >= p->at && at < p->at + p->n * page && p->prot[(at - p->at) / page] >= 0)
			return 1;
	return 0;
}

static void compare(struct model *m)
{
	unsigned char vec;
	read_maps();
	for (struct piece *p = m->p; p < m->p + pieces; p++) {
		for (int i = 0; i < p->n; i++) {
			char *at = p->at + i * page;
			if (p->prot[i] < 0 && (!m->alone || taken(m, at)))
				continue;
			check(m, maps_say(at) == p->prot[i]);
			check(m, mincore(at, page, &vec) == (p->prot[i] < 0 ? -1 : 0));
			check(m, (touch(at, 0) == 0) == (p->prot[i] > 0));
			check(m, (touch(at, 1) == 0) == (p->prot[i] > 0 && p->prot[i] & PROT_WRITE));
			if (p->prot[i] > 0)
				check(m, *at == p->tag[i]);
		}
	}
}

static void catch_faults(void)
{
	struct sigaction sa = {.sa_handler = faulted};
	sigaction(SIGSEGV, &sa, 0);
}

static void against_model_of(enum where where)
{
	static struct model m = {.random = 4711, .alone = 1};
	m.where = where;
	catch_faults();
	warm();
	m.reservation = reserve(1 << 30);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 100; i++)
			step(&m, 1);
		compare(&m);
		if (round % 10 == 5) {
			pid_t c = fork();
			if (c == 0) {
				compare(&m);
				for (int i = 0; i < 200; i++)
					step(&m, 1);
				compare(&m);
				_exit(m.bad != 0);
			}
			for (int i = 0; i < 50; i++)
				step(&m, 0);
			int ws;
			waitpid(c, &ws, 0);
			status("child", ws);
		}
	}
	say("%ld steps, %ld were not as they should be", m.done, m.bad);
}

static void against_model(void)
{
	against_model_of(anywhere);
}

static void against_model_reserved(void)
{
	against_model_of(reserved);
}

static void against_model_hinted(void)
{
	against_model_of(hinted);
}

/* What is in the middle of a reservation, and is not like it, comes and goes. */
static void strangers(void)
{
	catch_faults();
	warm();
	int fd = open("lease-stranger", O_CREAT | O_RDWR | O_TRUNC, 0644);
	err("write", write(fd, "of the file", 11));
	err("extend", ftruncate(fd, 4 * page));
	char *r = reserve(1 << 30);
	long bad = 0;
	for (int i = 0; i < 200; i++) {
		char *p = r + (1 << 20) * (i % 60) + 8 * page;
		bad += mprotect(p, 8 * page, PROT_READ | PROT_WRITE) != 0;
		p[page] = p[7 * page] = i + 1;
		switch (i % 3) {
		case 0: {
			char *q = mmap(p + 2 * page, 2 * page, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
			bad += q != p + 2 * page || memcmp(q, "of the file", 11) != 0;
			bad += mprotect(p, 8 * page, PROT_READ) != 0 || touch(p, 1) == 0 || touch(q, 1) == 0 || p[page] != (char)(i + 1);
			bad += mmap(q + page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != q + page;
			bad += touch(q + page, 1) != 0 || touch(q, 0) != 0 || memcmp(q, "of the file", 11) != 0;
			break;
		}
		case 1:
			bad += mlock(p + 3 * page, page) != 0 || mprotect(p, 8 * page, PROT_READ) != 0;
			bad += touch(p + 3 * page, 1) == 0 || munlock(p, 8 * page) != 0;
			bad += madvise(p, 8 * page, MADV_DONTNEED) != 0 || p[7 * page] != 0;
			break;
		case 2:
			bad += munmap(p + 3 * page, page) != 0;
			bad += mprotect(p, 8 * page, PROT_READ) != -1 || errno != ENOMEM;
			bad += touch(p + 2 * page, 1) == 0 || touch(p + 4 * page, 1) != 0;
			bad += madvise(p, 8 * page, MADV_DONTNEED) != -1 || errno != ENOMEM || p[7 * page] != 0;
			bad += mmap(p + 3 * page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != p + 3 * page;
			break;
		}
		bad += mmap(p, 8 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != p;
		bad += touch(p, 0) == 0 || touch(p + 3 * page, 0) == 0;
	}
	read_maps();
	int lines = 0;
	for (char *l = maps_text; *l; l = strchr(l, '\n') + 1) {
		unsigned long start, end;
		lines += sscanf(l, "%lx-%lx", &start, &end) == 2 && end > (unsigned long)r && start < (unsigned long)r + (1 << 30);
	}
	say("%ld were not as they should be, all of it is one again %d", bad, lines == 1);
	err("unmap it", munmap(r, 1 << 30));
	unlink("lease-stranger");
}

/* A child does not get what it is not to, though nobody was asked about it. */
static void advised(void)
{
	catch_faults();
	warm();
	char *r = reserve(1 << 30), *own, *p = 0;
	mprotect(r, 8 * page, PROT_READ | PROT_WRITE);
	memset(r, 7, 8 * page);
	own = get(4 * page, PROT_READ | PROT_WRITE);
	memset(own, 7, 4 * page);
	long bad = 0;
	for (int i = 0; i < 2; i++) {
		p = i ? own : r;
		bad += madvise(p, page, MADV_WIPEONFORK) != 0 || madvise(p + page, page, MADV_DONTFORK) != 0;
		bad += madvise(p + 2 * page, page, MADV_COLD) != 0 || madvise(p, 4 * page, MADV_DONTDUMP) != 0;
		bad += madvise(p, 4 * page, MADV_WILLNEED) != 0 || madvise(p, 4 * page, MADV_DODUMP) != 0;
	}
	pid_t c = fork();
	if (c == 0) {
		for (int i = 0; i < 2; i++) {
			p = i ? own : r;
			say("wiped %d, not there %d, there %d", p[0] == 0, touch(p + page, 0) != 0, p[2 * page] == 7);
		}
		_exit(0);
	}
	int ws;
	waitpid(c, &ws, 0);
	status("child", ws);
	say("%ld were not as they should be, all is there %d", bad, r[0] == 7 && r[page] == 7 && own[0] == 7 && own[page] == 7);
}

/* Nothing becomes executable without being asked about, either. */
static void never_executable(void)
{
	warm();
	char *p = get(4 * page, PROT_READ | PROT_WRITE);
	err("executable", mprotect(p, page, PROT_READ | PROT_EXEC));
	if (prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) != 0)
		return; /* the kernel does not know of it */
	warm();
	for (int i = 0; i < 20; i++) {
		if (mprotect(p + page, page, PROT_READ | PROT_EXEC) == 0 || get(page, PROT_WRITE | PROT_EXEC) != MAP_FAILED)
			say("became executable");
	}
	err("executable", mprotect(p + page, page, PROT_READ | PROT_EXEC));
}

/* Pages of one file change places while they are mapped over such memory. */
static void files_between(void)
{
	catch_faults();
	warm();
	int fd = open("lease-file", O_CREAT | O_RDWR | O_TRUNC, 0644);
	err("write", write(fd, "of the file", 11));
	err("extend", ftruncate(fd, 4 * page));
	long bad = 0;
	for (int i = 0; i < 50; i++) {
		char *p = get(8 * page, PROT_READ | PROT_WRITE);
		char *q = mmap(p + 2 * page, 2 * page, PROT_READ, i % 2 ? MAP_SHARED | MAP_FIXED : MAP_PRIVATE | MAP_FIXED, fd, 0);
		bad += q != p + 2 * page || memcmp(q, "of the file", 11) != 0;
		bad += mprotect(p, 8 * page, PROT_READ) != 0;
		bad += touch(p, 1) == 0 || touch(q, 1) == 0 || touch(q, 0) != 0;
		bad += munmap(p + 3 * page, 2 * page) != 0;
		bad += touch(p + 3 * page, 0) == 0 || touch(p + 4 * page, 0) == 0 || touch(p + 5 * page, 0) != 0;
		bad += madvise(p, 8 * page, MADV_DONTNEED) != -1 || errno != ENOMEM;
		bad += memcmp(q, "of the file", 11) != 0;
		bad += munmap(p, 8 * page) != 0 || touch(q, 0) == 0;
	}
	say("%ld were not as they should be", bad);
	unlink("lease-file");
}

static volatile int stop_racing;

static void *racer(void *arg)
{
	struct model *m = arg;
	for (int i = 0; i < 2500; i++)
		step(m, i % 8 == 0);
	return 0;
}

static void *reader(void *arg)
{
	long *lines = arg;
	while (!stop_racing) {
		int fd = open("/proc/self/maps", O_RDONLY);
		char b[4096];
		for (int n; (n = read(fd, b, sizeof b)) > 0;)
			*lines += n;
		close(fd);
	}
	return 0;
}

static void threads_in(enum where where)
{
	static struct model m[3];
	pthread_t t[3], r;
	long lines = 0, bad = 0;
	catch_faults();
	warm();
	pthread_create(&r, 0, reader, &lines);
	for (int i = 0; i < 3; i++) {
		m[i].random = i + 1;
		m[i].where = where;
		m[i].reservation = reserve(1 << 30);
		pthread_create(&t[i], 0, racer, &m[i]);
	}
	/* Children that are forked while the others are at it find no page of their own changed. */
	for (int i = 0; i < 5; i++) {
		char *p = get(3 * page, PROT_READ | PROT_WRITE);
		p[page] = i;
		pid_t c = fork();
		if (c == 0) {
			char *q = get(page, PROT_READ | PROT_WRITE);
			int good = p[page] == i && q[0] == 0 && munmap(p, 3 * page) == 0 && touch(p, 0) && munmap(q, page) == 0;
			_exit(!good);
		}
		int ws;
		waitpid(c, &ws, 0);
		bad += ws != 0;
		munmap(p, 3 * page);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], 0);
	stop_racing = 1;
	pthread_join(r, 0);
	for (int i = 0; i < 3; i++) {
		compare(&m[i]);
		bad += m[i].bad;
	}
	say("maps were read %d, %ld were not as they should be", lines > 0, bad);
}

static void threads(void)
{
	threads_in(anywhere);
}

static void threads_reserved(void)
{
	threads_in(reserved);
}

static volatile long alarms, in_handler;

static void map_in_handler(int sig)
{
	char *p = get(page, PROT_READ | PROT_WRITE);
	in_handler += p == MAP_FAILED || *p != 0;
	*p = 1;
	in_handler += munmap(p, page) != 0;
	alarms += sig == SIGALRM;
}

static int regions(void)
{
	int n = 0;
	read_maps();
	for (char *l = maps_text; *l; l++)
		n += *l == '\n';
	return n;
}

static void signals(void)
{
	warm();
	struct sigaction sa = {.sa_handler = map_in_handler, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &sa, 0);
	int before = regions();
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &often, 0);
	long bad = 0, end = now() + 10000;
	while (alarms < 200 && now() < end) {
		char *p = get(2 * page, PROT_READ | PROT_WRITE);
		bad += p == MAP_FAILED || *p != 0;
		*p = 1;
		bad += mprotect(p, 2 * page, PROT_READ) != 0 || *p != 1;
		bad += munmap(p, 2 * page) != 0;
	}
	setitimer(ITIMER_REAL, &never, 0);
	say("signals %d, %ld and %ld were not as they should be, regions more %d", alarms >= 200, bad, in_handler, regions() - before);
}

static void errors(void)
{
	catch_faults();
	warm();
	char *p = get(8 * page, PROT_READ | PROT_WRITE), *q;
	say("below the last %d", p != MAP_FAILED);
	err("unmap unaligned", munmap(p + 1, page));
	err("unmap nothing", munmap(p, 0));
	err("unmap all", munmap(p, -1UL));
	err("unmap almost all", munmap(p, -page));
	err("protect unaligned", mprotect(p + 1, page, PROT_READ));
	err("protect nothing", mprotect(p, 0, PROT_READ));
	err("protect all", mprotect(p, -1UL, PROT_READ));
	err("protect oddly", mprotect(p, page, 0x40));
	err("protect growing down", mprotect(p, page, PROT_READ | PROT_GROWSDOWN));
	err("unmap the third", munmap(p + 2 * page, 100));
	err("once more", munmap(p + 2 * page, page));
	err("protect across the hole", mprotect(p, 5 * page, PROT_READ));
	say("before the hole %d, behind it %d", touch(p + page, 1), touch(p + 3 * page, 1));
	err("advise across the hole", madvise(p, 5 * page, MADV_DONTNEED));
	err("advise oddly", madvise(p, page, 999));
	err("advise unaligned", madvise(p + 1, page, MADV_DONTNEED));
	err("free", madvise(p + 3 * page, page, MADV_FREE));
	err("length 0", (long)get(0, PROT_READ));
	err("too long", (long)get(-1UL, PROT_READ));
	err("far too long", (long)get(1UL << 60, PROT_READ));
	err("an odd offset", (long)mmap(0, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1));
	err("an offset", (long)mmap(0, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, page));
	err("a descriptor", (long)mmap(0, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 99, 0));
	err("neither", (long)mmap(0, page, PROT_READ, MAP_ANONYMOUS, -1, 0));
	q = mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	say("a stack %d", touch(q, 1));
	p = get(8 * page, PROT_READ | PROT_WRITE);
	munmap(p + 2 * page, page);
	q = mmap(p + 2 * page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say("a hint into a hole %d", q == p + 2 * page);
	q = mmap(p - 4096 * page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	say("far below %d %d", q == p - 4096 * page, touch(q, 1));
	char *first = get(page, PROT_READ), *second = get(4095 * page, PROT_READ), *third = get(2 * page, PROT_READ);
	say("others do not meet it %d", touch(q, 1) == 0 && first != MAP_FAILED && second != MAP_FAILED && third != MAP_FAILED);
	q = get(40 << 20, PROT_READ | PROT_WRITE);
	say("a long one %d", touch(q + (30 << 20), 1));
	err("a part of it", mprotect(q + page, 20 << 20, PROT_NONE));
	err("all of it", munmap(q, 40 << 20));
	say("gone %d", touch(q, 0));
	void *end = sbrk(0);
	say("heap %d", sbrk(100 * page) == end && touch((char *)end + 99 * page, 1) == 0);
}

static void limited(void)
{
	warm();
	struct rlimit l = {1 << 30, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
	err("limit", setrlimit(RLIMIT_AS, &l));
	long n = 0;
	while (n < 2000 && get(1 << 20, PROT_NONE) != MAP_FAILED)
		n++;
	say("as many MiB as there is room for %d", n > 900 && n < 1024);
	err("one more", (long)get(1 << 20, PROT_NONE));
	err("no limit", setrlimit(RLIMIT_AS, &none));
	warm();
	for (n = 0; n < 600 && get(1 << 20, PROT_NONE) != MAP_FAILED; n++)
		;
	say("no limit %ld", n);
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	long size = 0;
	while (fgets(line, sizeof line, f))
		sscanf(line, "VmSize: %ld", &size);
	long before = size;
	fclose(f);
	get(5 << 20, PROT_NONE);
	f = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, f))
		sscanf(line, "VmSize: %ld", &size);
	say("VmSize grows by %ld kB", size - before);
}

static void shared(void)
{
	catch_faults();
	warm();
	static char *volatile p, *volatile q;
	q = get(page, PROT_READ);
	pid_t c = vfork();
	if (c == 0) {
		p = get(page, PROT_READ | PROT_WRITE);
		*p = 7;
		mprotect(q, page, PROT_READ | PROT_WRITE);
		_exit(3);
	}
	int ws;
	waitpid(c, &ws, 0);
	status("vfork", ws);
	say("what the child mapped %d, protected %d", *p, touch(q, 1));
	read_maps();
	say("shows %d %d", maps_say(p), maps_say(q));
	err("is unmapped", munmap(p, page));
	say("is gone %d", touch(p, 0));
	/* An execve(2) begins anew. */
	if (fork() == 0) {
		execl("/proc/self/exe", "cprogs", "lease.errors", (char *)0);
		_exit(9);
	}
	wait(&ws);
	status("exec", ws);
}

const struct row lease_rows[] = {
	{"lease.model", against_model},
	{"lease.model-reserved", against_model_reserved},
	{"lease.model-hinted", against_model_hinted},
	{"lease.strangers", strangers},
	{"lease.advised", advised},
	{"lease.mdwe", never_executable},
	{"lease.files", files_between},
	{"lease.threads", threads},
	{"lease.threads-reserved", threads_reserved},
	{"lease.signals", signals},
	{"lease.errors", errors},
	{"lease.limits", limited},
	{"lease.shared", shared},
	{0, 0},
};
