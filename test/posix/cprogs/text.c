#include "cprogs.h"
#include <sys/uio.h>

/*
 * Code that a program makes or maps itself, whose call sites the sandbox may
 * rewrite or must not: the program's own view of it is Linux's.
 */

enum { HOT = 260, PAGE = 4096 };

/* mov $nr, %eax; syscall; ret, with code before it for a decoder to get into step. */
static const unsigned char body[] = {
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
	0xb8, 0x6f, 0, 0, 0, 0x0f, 0x05, 0xc3,
};
enum { NR = 49 };

static unsigned char text[PAGE];

static void write_code(void *to, int nr)
{
	memcpy(to, body, sizeof body);
	((unsigned char *)to)[NR] = nr;
}

static long call(void *code) { return ((long (*)(void))code)(); }

/* wrong counts the calls out of many that did not give want. */
static int wrong(void *code, long want)
{
	int n = 0;
	for (int i = 0; i < HOT; i++)
		n += call(code) != want;
	return n;
}

static int code_file(const char *name, int nr)
{
	memset(text, 0xcc, sizeof text);
	write_code(text, nr);
	int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0755);
	if (fd == -1 || write(fd, text, PAGE) != PAGE)
		_exit(3);
	return fd;
}

static const int RX = PROT_READ | PROT_EXEC, RW = PROT_READ | PROT_WRITE;

/* above maps a file's page with a hole below it, where the sandbox puts what it needs. */
static char *above(int fd)
{
	char *area = mmap(0, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(area + 7 * PAGE, PAGE);
	return mmap(area + 8 * PAGE, PAGE, RX, MAP_PRIVATE | MAP_FIXED, fd, 0);
}

static void jit(void)
{
	char *p = mmap(0, PAGE, RW | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	write_code(p, SYS_getpid);
	say("wrong %d", wrong(p, getpid()));
	say("bytes as written %d", p[NR] == SYS_getpid && memcmp(p + NR + 1, body + NR + 1, sizeof body - NR - 1) == 0);
	p[NR] = SYS_getppid;
	say("patched: wrong %d", wrong(p, getppid()));
	p = mmap(0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 4; i++) {
		mprotect(p, PAGE, RW);
		say("bytes %d", i == 0 || memcmp(p, body, NR) == 0);
		write_code(p, i % 2 ? SYS_getpid : SYS_getpgrp);
		mprotect(p, PAGE, RX);
		say("write xor execute: wrong %d", wrong(p, i % 2 ? getpid() : getpgrp()));
		say("bytes %d", memcmp(p + NR + 1, body + NR + 1, sizeof body - NR - 1) == 0);
	}
}

static void private_file(void)
{
	int fd = code_file("f", SYS_getpid);
	unsigned char *p = (unsigned char *)above(fd);
	say("wrong %d", wrong(p, getpid()));
	err("writable", mprotect(p, PAGE, RW));
	say("its own bytes %d", memcmp(p, text, PAGE) == 0);
	p[NR] = SYS_getppid;
	err("executable again", mprotect(p, PAGE, RX));
	say("patched: wrong %d", wrong(p, getppid()));
	err("all three", mprotect(p, PAGE, RW | PROT_EXEC));
	say("its own bytes %d", p[NR] == SYS_getppid && memcmp(p + NR + 1, text + NR + 1, PAGE - NR - 1) == 0);
	p[NR] = SYS_getpgrp;
	say("patched: wrong %d", wrong(p, getpgrp()));
	say("bytes %d", p[NR] == SYS_getpgrp && p[NR - 1] == 0xb8 && p[NR + 4] == 0x0f);
	unsigned char in_file[PAGE];
	say("the file %d", pread(fd, in_file, PAGE, 0) == PAGE && memcmp(in_file, text, PAGE) == 0);
	p = (unsigned char *)above(fd);
	say("another mapping: wrong %d", wrong(p, getpid()));
	err("dropped", madvise(p, PAGE, MADV_DONTNEED));
	say("bytes after that %d", mprotect(p, PAGE, RW) == 0 && memcmp(p, text, PAGE) == 0);
	mprotect(p, PAGE, RX);
	say("wrong %d", wrong(p, getpid()));
	madvise(p, PAGE, MADV_DONTNEED);
	say("dropped again: wrong %d", wrong(p, getpid()));
}

static void shared_file(void)
{
	int fd = code_file("f", SYS_getpid);
	unsigned char *p = mmap(0, PAGE, RX, MAP_SHARED, fd, 0), in_file[PAGE];
	say("wrong %d", wrong(p, getpid()));
	say("its bytes %d", memcmp(p, text, PAGE) == 0);
	say("the file %d", pread(fd, in_file, PAGE, 0) == PAGE && memcmp(in_file, text, PAGE) == 0);
	unsigned char nr = SYS_getpgrp;
	say("written %zd", pwrite(fd, &nr, 1, NR));
	say("patched: wrong %d", wrong(p, getpgrp()));
}

/* The page below a rewritten mapping is free in the program's eyes. */
static void hole(void)
{
	int fd = code_file("f", SYS_getpid);
	char *p = above(fd), *below = p - PAGE;
	say("wrong %d", wrong(p, getpid()));
	err("nothing there to protect", mprotect(below, PAGE, PROT_READ));
	say("wrong %d", wrong(p, getpid()));
	char *m = mmap(below, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	say("mapped there %d", m == below);
	memset(m, 0x55, PAGE);
	say("wrong %d", wrong(p, getpid()));
	say("kept %d %d", m[0], m[PAGE - 1]);
	err("unmap", munmap(m, PAGE));
	say("wrong %d", wrong(p, getpid()));
	p = above(fd), below = p - PAGE;
	say("wrong %d", wrong(p, getpid()));
	err("unmap what is not mapped", munmap(below, PAGE));
	say("wrong %d", wrong(p, getpid()));
	p = above(fd), below = p - PAGE;
	say("wrong %d", wrong(p, getpid()));
	say("mapped over %d", mmap(below, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == below && *below == 0);
	say("wrong %d", wrong(p, getpid()));
	err("all gone", munmap(below, 2 * PAGE));
}

static void moved(void)
{
	int fd = code_file("f", SYS_getpid);
	char *p = above(fd);
	say("wrong %d", wrong(p, getpid()));
	char *to = mmap(0, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *q = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 4 * PAGE);
	say("moved %d", q == to + 4 * PAGE);
	say("wrong %d", wrong(q, getpid()));
	err("writable", mprotect(q, PAGE, RW));
	say("its bytes %d", memcmp(q, text, PAGE) == 0);
	mprotect(q, PAGE, RX);
	say("wrong %d", wrong(q, getpid()));
}

/* Other code comes to where rewritten code was. */
static void again(void)
{
	int fd[2] = {code_file("b", SYS_getpgrp), code_file("a", SYS_getpid)}, bad = 0;
	long want[2] = {getpgrp(), getpid()};
	char *at = above(fd[0]);
	for (int i = 0; i < 40; i++) {
		if (i % 4 == 3)
			munmap(at, PAGE);
		char *p = mmap(at, PAGE, RX, MAP_PRIVATE | MAP_FIXED, fd[i % 2], 0);
		for (int n = 0; n < 12 + i; n++)
			bad += call(p) != want[i % 2];
	}
	say("wrong %d", bad);
	for (int i = 0; i < 40; i++) {
		char *p = mmap(0, PAGE, RX, MAP_PRIVATE, fd[i % 2], 0);
		for (int n = 0; n < 12; n++)
			bad += call(p) != want[i % 2];
		munmap(p, PAGE);
	}
	say("wrong %d", bad);
}

/* What others see of a process whose code is rewritten. */
static void from_outside(void)
{
	int fd = code_file("f", SYS_getpid), ready[2];
	char *p = above(fd), bytes[sizeof body], path[64], c;
	if (pipe(ready) != 0)
		return;
	say("wrong %d", wrong(p, getpid()));
	pid_t child = fork();
	if (child == 0) {
		int bad = wrong(p, getpid());
		if (write(ready[1], bad ? "n" : "y", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ssize_t n = read(ready[0], &c, 1);
	say("in a child %zd %c", n, c);
	struct iovec l = {bytes, sizeof bytes}, r = {p, sizeof bytes};
	say("process_vm_readv %ld", (long)process_vm_readv(child, &l, 1, &r, 1, 0));
	say("the original %d", memcmp(bytes, text, sizeof bytes) == 0);
	snprintf(path, sizeof path, "/proc/%d/mem", child);
	memset(bytes, 0, sizeof bytes);
	int mem = open(path, O_RDONLY);
	say("/proc/PID/mem %zd", pread(mem, bytes, sizeof bytes, (off_t)p));
	say("the original %d", memcmp(bytes, text, sizeof bytes) == 0);
	mem = open("/proc/self/mem", O_RDONLY);
	memset(bytes, 0, sizeof bytes);
	say("/proc/self/mem %zd", pread(mem, bytes, sizeof bytes, (off_t)p));
	say("the original %d", memcmp(bytes, text, sizeof bytes) == 0);
	kill(child, SIGKILL);
	wait(0);
	say("wrong %d", wrong(p, getpid()));
}

/* One thread calls while another makes the text writable and executable again. */
static int going = 1, misses;
static void *caller(void *code)
{
	pid_t me = getpid();
	while (__atomic_load_n(&going, __ATOMIC_RELAXED))
		if (call(code) != me)
			__atomic_fetch_add(&misses, 1, __ATOMIC_RELAXED);
	return 0;
}

static void turns(void)
{
	int fd = code_file("f", SYS_getpid);
	char *p = above(fd);
	pthread_t t[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], 0, caller, p);
	for (int i = 0; i < 60; i++) {
		misses += mprotect(p, PAGE, RW | PROT_EXEC) != 0;
		misses += memcmp(p, text, PAGE) != 0;
		misses += mprotect(p, PAGE, RX) != 0;
		msleep(1);
	}
	going = 0;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], 0);
	say("misses %d", misses);
}

const struct row text_rows[] = {
	{"text.jit", jit},
	{"text.private", private_file},
	{"text.shared", shared_file},
	{"text.hole", hole},
	{"text.moved", moved},
	{"text.again", again},
	{"text.outside", from_outside},
	{"text.turns", turns},
	{0, 0},
};
