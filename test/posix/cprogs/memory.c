#include "cprogs.h"
#include <sys/uio.h>

enum { page = 4096 };

static sigjmp_buf fault_buf;

static void faulted(int sig)
{
	siglongjmp(fault_buf, sig);
}

static void catch_faults(void)
{
	struct sigaction sa = {.sa_handler = faulted};
	sigaction(SIGSEGV, &sa, 0);
	sigaction(SIGBUS, &sa, 0);
}

/* touch says which signal reading (or writing) an address raises, 0 for none. */
static int touch(volatile char *p, int writes)
{
	int s = sigsetjmp(fault_buf, 1);
	if (s == 0) {
		if (writes)
			*p = *p + 1;
		else
			(void)*p;
	}
	return s;
}

static int make(const char *name, int size)
{
	int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
	char b[page];
	for (int i = 0; i < size; i++)
		b[i % page] = 'a' + i / page % 26;
	for (int left = size; left > 0; left -= page) {
		memset(b, 'a' + (size - left) / page % 26, page);
		if (write(fd, b, left < page ? left : page) < 0)
			_exit(1);
	}
	return fd;
}

static void anonymous(void)
{
	catch_faults();
	char *p = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say("zeroed %d", p[0] == 0 && p[4 * page - 1] == 0);
	p[page] = 7;
	err("unmap the middle", munmap(p + page, page));
	say("hole %d left %d right %d", touch(p + page, 0), touch(p, 1), touch(p + 2 * page, 1));
	char *q = mmap(p + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	say("fixed in the hole %d fresh %d write %d", q == p + page, *q, touch(q, 1));
	q = mmap(p, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	err("no replace", (long)q);
	q = mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	err("zero length", (long)q);
	q = mmap((void *)1, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	err("fixed, unaligned", (long)q);
	q = mmap(0, page, PROT_READ, MAP_ANONYMOUS, -1, 0);
	err("neither shared nor private", (long)q);
	q = mmap(0, 1UL << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	err("too large", (long)q);
	err("unmap unaligned", munmap(p + 1, page));
	err("unmap nothing", munmap(p, 0));
	err("unmap what is not there", munmap((void *)0x10000000, page));
	err("unmap beyond", munmap((void *)0x7ffffffff000, 1L << 40));
	q = mmap((void *)0x20000000, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say("a hint is taken %d", q == (void *)0x20000000);
	q = mmap(0, 64L << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	say("64 GiB reserved %d", q != MAP_FAILED);
	err("commit a part", mprotect(q + (1 << 30), page, PROT_READ | PROT_WRITE));
	say("used %d, beside %d", touch(q + (1 << 30), 1), touch(q + (1 << 30) + page, 1));
	q = mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fork() == 0) {
		q[9] = 'z';
		_exit(0);
	}
	wait(0);
	say("shared with a child %c", q[9]);
	q = mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK, -1, 0);
	say("growsdown %d", q != MAP_FAILED);
	q = mmap(0, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	say("populate %d", q != MAP_FAILED && q[page] == 0);
	q = mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	say("low %d", (uintptr_t)q < 1UL << 32);
}

static void files(void)
{
	catch_faults();
	int fd = make("f", 3 * page + 100);
	char *s = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *p = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	say("%c %c %c %c", s[0], s[page], p[2 * page], p[3 * page + 99]);
	say("past the end in the page %d", s[3 * page + 100]);
	s[0] = 'S';
	p[page] = 'P';
	char b[page];
	say("pread %zd", pread(fd, b, page, 0));
	say("shared is written %c, seen by private %c", b[0], p[0]);
	say("pread %zd", pread(fd, b, page, page));
	say("private is not written %c, nor seen by shared %c", b[0], s[page]);
	say("pwrite %zd", pwrite(fd, "W", 1, 2 * page));
	say("write is seen %c %c", s[2 * page], p[2 * page]);
	say("pwrite %zd", pwrite(fd, "X", 1, page));
	say("not under a private copy %c", p[page]);
	err("msync", msync(s, page, MS_SYNC));
	err("msync bad", msync(s, page, MS_SYNC | MS_ASYNC));
	err("msync hole", msync((void *)0x10000000, page, MS_SYNC));
	err("truncate", ftruncate(fd, page));
	say("beyond the new end %d %d, before it %d", touch(s + page, 0), touch(s + 2 * page, 1), touch(s, 1));
	err("extend", ftruncate(fd, 2 * page));
	say("back %d and zero %d", touch(s + page, 0), s[page]);
	close(fd);
	say("closed, still mapped %d", touch(s, 1));
	fd = open("f", O_RDONLY);
	err("shared write of a read-only file", (long)mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	char *ro = mmap(0, page, PROT_READ, MAP_SHARED, fd, 0);
	err("shared read", (long)ro);
	err("mprotect to write", mprotect(ro, page, PROT_READ | PROT_WRITE));
	err("private write", (long)mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	err("offset unaligned", (long)mmap(0, page, PROT_READ, MAP_PRIVATE, fd, 1));
	close(fd);
	fd = open("f", O_WRONLY);
	err("write-only", (long)mmap(0, page, PROT_WRITE, MAP_SHARED, fd, 0));
	err("bad fd", (long)mmap(0, page, PROT_READ, MAP_PRIVATE, 77, 0));
	fd = open(".", O_RDONLY);
	err("directory", (long)mmap(0, page, PROT_READ, MAP_PRIVATE, fd, 0));
	int pp[2];
	if (pipe(pp) == 0)
		err("pipe", (long)mmap(0, page, PROT_READ, MAP_PRIVATE, pp[0], 0));
	err("unlink", unlink("f"));
	say("unlinked, still mapped %d", touch(s, 1));
	fd = make("big", 40 * page);
	char *far = mmap(0, page, PROT_READ, MAP_PRIVATE, fd, 30 * page);
	say("offset %c", far[0]);
	far = mmap(0, page, PROT_READ, MAP_PRIVATE, fd, 400 * page);
	say("all past the end %d", touch(far, 0));
}

static void shared_processes(void)
{
	int fd = make("f", page);
	pid_t c = fork();
	if (c == 0) {
		int fd2 = open("f", O_RDWR);
		volatile int *m = mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd2, 0);
		while (m[0] != 1)
			msleep(1);
		m[1] = 42;
		m[0] = 2;
		_exit(0);
	}
	volatile int *m = mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	m[0] = 1;
	while (m[0] != 2)
		msleep(1);
	say("from the other process %d", m[1]);
	wait(0);
	int v[2] = {0};
	say("read %zd", pread(fd, v, sizeof v, 0));
	say("in the file %d %d", v[0], v[1]);
	int mf = memfd_create("x", 0);
	err("size", ftruncate(mf, page));
	char *a = mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED, mf, 0);
	char *b = mmap(0, page, PROT_READ, MAP_SHARED, mf, 0);
	a[1] = 'm';
	say("two mappings of a memfd %c", b[1]);
}

static void protection(void)
{
	catch_faults();
	char *p = mmap(0, 5 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 1, 5 * page);
	err("none in the middle", mprotect(p + 2 * page, page, PROT_NONE));
	say("%d %d %d %d", touch(p, 1), touch(p + 2 * page, 0), touch(p + 3 * page, 1), touch(p + 2 * page, 1));
	err("read", mprotect(p + 2 * page, page, PROT_READ));
	say("%d %d content %d", touch(p + 2 * page, 0), touch(p + 2 * page, 1), p[2 * page]);
	err("write", mprotect(p + page, 3 * page, PROT_READ | PROT_WRITE));
	say("%d", touch(p + 2 * page, 1));
	err("unaligned", mprotect(p + 1, page, PROT_READ));
	munmap(p + 3 * page, page);
	err("over a hole", mprotect(p, 5 * page, PROT_READ));
	say("before it %d after it %d", touch(p, 1), touch(p + 4 * page, 1));
	err("nothing", mprotect(p, 0, PROT_READ));
	err("bad bits", mprotect(p, page, 0x10));
	unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};
	char *x = mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(x, code, sizeof code);
	err("exec", mprotect(x, page, PROT_READ | PROT_EXEC));
	say("generated code gives %d", ((int (*)(void))x)());
	/* Generated code that makes a system call, twice. */
	unsigned char call[] = {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3};
	mprotect(x, page, PROT_READ | PROT_WRITE);
	memcpy(x, call, sizeof call);
	mprotect(x, page, PROT_READ | PROT_EXEC);
	say("its getpid %d %d", ((int (*)(void))x)() == getpid(), ((int (*)(void))x)() == getpid());
}

static void remap(void)
{
	catch_faults();
	char *p = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 4; i++)
		p[i * page] = 'a' + i;
	char *q = mremap(p, 4 * page, 2 * page, 0);
	say("shrunk in place %d beyond %d", q == p, touch(p + 2 * page, 0));
	q = mremap(p, 2 * page, 1000 * page, MREMAP_MAYMOVE);
	say("grown %c %c new %d", q[0], q[page], q[999 * page]);
	char *to = mmap(0, 10 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *r = mremap(q, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, to + 4 * page);
	say("fixed %d %c old %d", r == to + 4 * page, r[page], touch(q, 0));
	err("of nothing", (long)mremap((void *)0x10000000, page, page, MREMAP_MAYMOVE));
	err("to no size", (long)mremap(r, page, 0, MREMAP_MAYMOVE));
	err("fixed without maymove", (long)mremap(r, page, page, MREMAP_FIXED, to));
	err("unaligned", (long)mremap(r + 1, page, page, 0));
	err("overlap", (long)mremap(r, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, r + page));
	int fd = make("f", 4 * page);
	char *f = mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page);
	f = mremap(f, page, 3 * page, MREMAP_MAYMOVE);
	say("a file grows %c %c %c", f[0], f[page], f[2 * page]);
	char *twin = mremap(f, 0, page, MREMAP_MAYMOVE);
	twin[0] = 'T';
	say("a second mapping of the same %c", f[0]);
}

static void advice(void)
{
	char *p = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 5, 4 * page);
	err("dontneed", madvise(p + page, page, MADV_DONTNEED));
	say("%d %d %d", p[0], p[page], p[2 * page]);
	err("free", madvise(p, page, MADV_FREE));
	err("willneed", madvise(p, page, MADV_WILLNEED));
	err("sequential", madvise(p, page, MADV_SEQUENTIAL));
	err("hugepage", madvise(p, page, MADV_NOHUGEPAGE));
	err("unknown", madvise(p, page, 9999));
	err("unaligned", madvise(p + 1, page, MADV_DONTNEED));
	err("hole", madvise((void *)0x10000000, page, MADV_DONTNEED));
	err("dontfork", madvise(p, page, MADV_DONTFORK));
	err("wipeonfork", madvise(p + page, page, MADV_WIPEONFORK));
	p[page] = 9;
	pid_t c = fork();
	if (c == 0) {
		say("wiped %d", p[page]);
		_exit(p[0]); /* not there: dies */
	}
	int ws;
	waitpid(c, &ws, 0);
	status("not forked", ws);
	int fd = make("f", 2 * page);
	char *s = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	s[0] = 'Z';
	madvise(s, page, MADV_DONTNEED);
	say("a private copy is dropped: %c", s[0]);
	char *sh = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sh[0] = 'Q';
	madvise(sh, page, MADV_DONTNEED);
	say("shared is kept: %c", sh[0]);
	unsigned char vec[2];
	err("mincore", mincore(sh, 2 * page, vec));
	err("mincore hole", mincore((void *)0x10000000, page, vec));
	err("mlock", mlock(p + 2 * page, page));
	err("munlock", munlock(p + 2 * page, page));
}

static void breaks(void)
{
	catch_faults();
	char *start = (char *)syscall(SYS_brk, 0);
	char *end = (char *)syscall(SYS_brk, start + 10 * page);
	say("grown %d zero %d", end == start + 10 * page, end[-1]);
	end[-1] = 3;
	say("shrunk %d", (char *)syscall(SYS_brk, start + page) == start + page);
	say("gone %d", touch(end - 1, 0));
	say("grown again %d", (char *)syscall(SYS_brk, start + 10 * page) == end);
	say("zeroed again %d", end[-1]);
	say("too low is refused %d", (char *)syscall(SYS_brk, 16) == end);
	setrlimit(RLIMIT_DATA, &(struct rlimit){1 << 20, 1 << 20});
	say("over the limit is refused %d", (char *)syscall(SYS_brk, start + (64 << 20)) == end);
}

static void limits(void)
{
	setrlimit(RLIMIT_AS, &(struct rlimit){64 << 20, 64 << 20});
	err("64 MiB over the limit", (long)mmap(0, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *p = mmap(0, 4 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	err("4 MiB", (long)p);
	err("unmap", munmap(p, 4 << 20));
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){page, page});
	say("malloc of 100 MiB %d", malloc(100 << 20) != 0);
}

static void remote(void)
{
	char b[100] = "here", c[100] = {0};
	struct iovec l = {c, 5}, r = {b, 5};
	say("process_vm_readv of myself %ld", syscall(SYS_process_vm_readv, getpid(), &l, 1, &r, 1, 0));
	say("%s", c);
	pid_t p = fork();
	if (p == 0)
		for (;;)
			pause();
	strcpy(b, "wrote");
	r = (struct iovec){c, 6};
	l = (struct iovec){b, 6};
	say("writev to a child %ld", syscall(SYS_process_vm_writev, p, &l, 1, &r, 1, 0));
	memset(b, 0, 10);
	say("readv of a child %ld %s", syscall(SYS_process_vm_readv, p, &l, 1, &r, 1, 0), b);
	r.iov_base = (void *)8;
	err("bad address", syscall(SYS_process_vm_readv, p, &l, 1, &r, 1, 0));
	kill(p, SIGKILL);
	wait(0);
	err("gone", syscall(SYS_process_vm_readv, p, &l, 1, &r, 1, 0));
}

static void hog(void)
{
	/* 50 MiB, or 200, touched, forked, and written by both. */
	size_t size = (getenv("BULKHEAD_TEST_FULL") ? 200 : 50) << 20;
	char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < size; i += page)
		p[i] = i >> 12;
	pid_t c = fork();
	unsigned sum = 0;
	for (size_t i = 0; i < size; i += page)
		sum += (unsigned char)(p[i] += c == 0);
	if (c == 0) {
		say("child %u", sum);
		_exit(0);
	}
	wait(0);
	say("parent %u", sum);
}

const struct row memory_rows[] = {
	{"memory.anonymous", anonymous},
	{"memory.files", files},
	{"memory.shared", shared_processes},
	{"memory.protection", protection},
	{"memory.mremap", remap},
	{"memory.advice", advice},
	{"memory.brk", breaks},
	{"memory.limits", limits},
	{"memory.remote", remote},
	{"memory.hog", hog},
	{0, 0},
};
