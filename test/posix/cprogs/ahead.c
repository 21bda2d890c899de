#include "cprogs.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <termios.h>

/*
 * A file that is opened, asked about, read and closed: the sandbox tells all of it with the
 * answer of open(2), to a process of one thread. What comes between must not show.
 */

static char path[256], path2[300];

static long want(long r) { return r < 0 ? -errno : r; }

static void fill(int n)
{
	static char b[40000];
	for (int i = 0; i < n; i++)
		b[i] = 'a' + i % 26;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (write(fd, b, n) != n)
		err("fill", -1);
	close(fd);
}

static void begin(void)
{
	snprintf(path, sizeof path, "%s/ahead.%d", getenv("SCRATCH"), getpid());
	snprintf(path2, sizeof path2, "%s.2", path);
}

/* One site for each call, so that they are the fast lane's after a while. */
__attribute__((noinline)) static int opened(int flags) { return want(syscall(SYS_openat, AT_FDCWD, path, flags, 0)); }
__attribute__((noinline)) static long size(int fd)
{
	struct stat st;
	long r = syscall(SYS_fstat, fd, &st);
	return r < 0 ? -errno : st.st_size;
}
__attribute__((noinline)) static long size_at(int fd)
{
	struct stat st;
	long r = syscall(SYS_newfstatat, fd, "", &st, 0x1000);
	return r < 0 ? -errno : (long)(st.st_size * 10 + st.st_nlink);
}
__attribute__((noinline)) static long place(int fd) { return want(syscall(SYS_lseek, fd, 0L, SEEK_CUR)); }
__attribute__((noinline)) static long tty(int fd)
{
	struct termios t;
	return want(syscall(SYS_ioctl, fd, TCGETS, &t));
}
__attribute__((noinline)) static long take(int fd, void *p, size_t n) { return want(syscall(SYS_read, fd, p, n)); }
__attribute__((noinline)) static long take_at(int fd, void *p, size_t n, long at) { return want(syscall(SYS_pread64, fd, p, n, at)); }
__attribute__((noinline)) static long shut(int fd) { return want(syscall(SYS_close, fd)); }

static long sum(const char *b, long n)
{
	long s = n;
	for (long i = 0; i < n; i++)
		s = s * 31 + b[i];
	return s % 1000000;
}

/* All of it, of files of many sizes, as an interpreter and as a compiler do. */
static void sizes(void)
{
	static char b[40000];
	begin();
	for (int round = 0; round < 5; round++) {
		static const int of[] = {0, 1, 831, 832, 833, 1024, 1025, 4096, 16383, 16384, 16385, 20000};
		for (unsigned i = 0; i < sizeof of / sizeof *of; i++) {
			fill(of[i]);
			int fd = opened(i & 1 ? O_RDONLY | O_CLOEXEC : O_RDONLY | O_NOCTTY);
			long s = size(fd), t = tty(fd), p = place(fd), a = size_at(fd), n = take(fd, b, s + 1), q = place(fd), e = take(fd, b + 20000, 1);
			long c = take_at(fd, b + 30000, 100, 5), d = take_at(fd, b + 30000, 100, of[i] + 1L), x = shut(fd), y = shut(fd);
			if (round == 0 || round == 4)
				say("%d: %ld %ld %ld %ld, read %ld %ld, at %ld, %ld, %ld %ld, %ld %ld", of[i], s, t, p, a, n, sum(b, n), q, e, c, d, x, y);
			fd = opened(O_RDONLY);
			long all = 0;
			while ((n = take(fd, b + all, 700)) > 0)
				all += n;
			if (round == 0 || round == 4)
				say("by pieces: %ld %ld, %ld, at %ld, %ld", all, sum(b, all), n, place(fd), shut(fd));
			else
				shut(fd);
		}
	}
	unlink(path);
}

/* Natively, without a call: another process changes the file when told, and says so. */
static volatile int *turn;

static void other(int what)
{
	while (*turn != 1)
		sched_yield();
	int fd;
	switch (what) {
	case 0: fd = open(path, O_WRONLY); if (write(fd, "CHANGED", 7) != 7) err("write", -1); break;
	case 1: fd = open(path, O_WRONLY | O_APPEND); if (write(fd, "LONGER", 6) != 6) err("write", -1); break;
	case 2: if (truncate(path, 3)) err("truncate", -1); break;
	case 3: fd = open(path, O_WRONLY | O_TRUNC); break;
	case 4: chmod(path, 0600); break;
	case 5: {
		fd = open(path, O_RDWR);
		char *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		memcpy(m, "MAPPED", 6);
		break;
	}
	case 6: fd = open(path, O_RDONLY); break;
	case 7: if (link(path, path2)) err("link", -1); break;
	case 8: if (unlink(path)) err("unlink", -1); break;
	case 9: close(open(path2, O_CREAT | O_WRONLY, 0600)); if (rename(path2, path)) err("rename", -1); break;
	}
	*turn = 2;
	while (*turn != 3)
		sched_yield();
	_exit(0);
}

static void changed(void)
{
	begin();
	turn = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int hot = 0; hot < 2; hot++) {
		for (int i = 0; i < 40; i++) {
			char c[64];
			fill(50);
			int fd = opened(O_RDONLY);
			size(fd), take(fd, c, 60), shut(fd);
		}
		for (int what = 0; what < 10; what++) {
			char b[64] = "";
			struct stat st;
			int ws;
			fill(20);
			chmod(path, 0644);
			*turn = 0;
			if (fork() == 0)
				other(what);
			int fd = opened(O_RDONLY);
			long first = take(fd, b, 2), s = size(fd);
			*turn = 1;
			while (*turn != 2)
				sched_yield();
			syscall(SYS_fstat, fd, &st);
			long now = st.st_size, n = take(fd, b + 2, 50);
			say("%d: %ld %ld, then %ld %o %ld, %ld \"%s\", %ld", what, first, s, now, st.st_mode & 0777, (long)st.st_nlink, n, b, shut(fd));
			*turn = 3;
			wait(&ws);
			unlink(path2);
		}
	}
	unlink(path);
}

/*
 * Another process gets the file itself, and reads on in it; or writes to it, though it
 * has no name; or begins to listen.
 */
static void shared(void)
{
	begin();
	fill(20);
	turn = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int what = 0; what < 3; what++) {
		int m = memfd_create("m", 0), ws;
		if (write(m, "abcdefghijklmnopqrst", 20) != 20)
			err("write", -1);
		turn[0] = 0;
		pid_t child = fork();
		if (child == 0) {
			for (int i = 0; i < 40; i++) {
				char c[64];
				int fd = opened(O_RDONLY);
				size(fd), take(fd, c, 60), shut(fd);
			}
			if (what == 1)
				snprintf(path, sizeof path, "/proc/self/fd/%d", m);
			char b[64] = "";
			int fd = opened(O_RDONLY);
			long first = take(fd, b, 2), s = size(fd);
			turn[1] = fd;
			turn[0] = 1;
			while (turn[0] != 2)
				sched_yield();
			long n = take(fd, b + 2, 5);
			long x = shut(fd);
			turn[0] = 3;
			while (turn[0] != 4)
				sched_yield();
			say("%d: %ld %ld, then %ld \"%s\", %ld", what, first, s, n, b, x);
			_exit(0);
		}
		while (turn[0] != 1)
			sched_yield();
		char b[8] = "";
		int p = syscall(SYS_pidfd_open, child, 0), f = want(syscall(SYS_pidfd_getfd, p, turn[1], 0));
		int w = inotify_init1(IN_NONBLOCK);
		if (what == 2)
			inotify_add_watch(w, path, IN_ACCESS | IN_CLOSE_NOWRITE);
		long r = what == 0 ? want(read(f, b, 3)) : want(pwrite(m, "CHANGED", 7, 0));
		close(f);
		turn[0] = 2;
		while (turn[0] != 3)
			sched_yield();
		struct inotify_event ev[8];
		long n = read(w, ev, sizeof ev);
		turn[0] = 4;
		wait(&ws);
		say("%d: %ld \"%s\"", what, r, b);
		for (long i = 0; i * (long)sizeof *ev < n; i++)
			say("event %#x", ev[i].mask);
		close(p), close(m), close(w);
	}
	unlink(path);
}

/* When it was read last: not when it was opened, and only for the first time since a change. */
static void access_time(void)
{
	struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
	begin();
	fill(20);
	for (int i = 0; i < 40; i++) {
		struct stat st;
		char b[64];
		if (i % 8 == 0)
			utimensat(AT_FDCWD, path, old, 0);
		int fd = opened(O_RDONLY);
		if (i % 2 == 1)
			take(fd, b, i % 4 == 1 ? 60 : 5);
		syscall(SYS_fstat, fd, &st);
		int open_said = st.st_atime != old[0].tv_sec;
		shut(fd);
		stat(path, &st);
		say("%d: %d, then %d", i % 8, open_said, st.st_atime != old[0].tv_sec);
	}
	unlink(path);
}

static volatile int caught;
static int caught_fd;
static char caught_bytes[8];

static void handler(int sig)
{
	(void)sig;
	caught = read(caught_fd, caught_bytes, 3);
}

/* What else can come between two of those calls. */
static void between(void)
{
	begin();
	fill(30);
	signal(SIGUSR1, handler);
	for (int hot = 0; hot < 2; hot++) {
		for (int i = 0; i < 40; i++) {
			char c[64];
			int fd = opened(O_RDONLY);
			size(fd), tty(fd), place(fd), take(fd, c, 60), shut(fd);
		}
		for (int what = 0; what < 15; what++) {
			char b[64] = "", link[64], to[64] = "";
			int fd = opened(O_RDONLY), more = -1, ws, p[2];
			long first = take(fd, b, 4), r = 0, r2 = 0;
			switch (what) {
			case 0: more = dup(fd); r = take(more, b + 4, 4); break;
			case 1:
				if (fork() == 0)
					_exit(take(fd, b, 5));
				wait(&ws);
				r = ws >> 8;
				break;
			case 2: r = want(lseek(fd, 10, SEEK_SET)); break;
			case 3: r = want(lseek(fd, -2, SEEK_END)); break;
			case 4: snprintf(link, sizeof link, "/proc/self/fd/%d", fd); r = readlink(link, to, 60) > 0; break;
			case 5: shut(fd); more = open("/dev/null", O_RDONLY); r = more == fd; fd = more; more = -1; break;
			case 6: shut(fd); snprintf(link, sizeof link, "/proc/self/fd/%d", fd); r = want(access(link, F_OK)); fd = opened(O_RDONLY); break;
			case 7: {
				struct iovec v[2] = {{b + 4, 2}, {b + 6, 3}};
				r = want(readv(fd, v, 2));
				break;
			}
			case 8: {
				char *m = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
				r = m[29];
				munmap(m, 4096);
				break;
			}
			case 9: pipe(p); r = want(sendfile(p[1], fd, 0, 5)); close(p[0]); close(p[1]); break;
			case 10: caught_fd = fd; raise(SIGUSR1); r = caught; break;
			case 11: r = want(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK)); r2 = fcntl(fd, F_GETFL); break;
			case 12: r = want(ioctl(fd, FIONREAD, &more)); r2 = more; more = -1; break;
			case 13: unlink(path); r = size_at(fd); fill(30); break;
			case 14: r = want(write(fd, "x", 1)); r2 = take(fd, (void *)16, 5); break;
			}
			say("%d: %ld, %ld %ld, on %ld \"%s\", at %ld", what, first, r, r2, take(fd, b + 20, 7), b + 20, place(fd));
			if (more >= 0)
				close(more);
			shut(fd);
		}
	}
	/* A watch sees all of it, in order. */
	int w = inotify_init1(IN_NONBLOCK);
	inotify_add_watch(w, path, IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE);
	char b[64];
	int fd = opened(O_RDONLY);
	take(fd, b, 5);
	shut(fd);
	struct inotify_event ev[8];
	long n = read(w, ev, sizeof ev);
	for (long i = 0; i * (long)sizeof *ev < n; i++)
		say("event %#x", ev[i].mask);
	unlink(path);
}

const struct row ahead_rows[] = {
	{"ahead.sizes", sizes}, {"ahead.changed", changed}, {"ahead.shared", shared}, {"ahead.access_time", access_time}, {"ahead.between", between}, {0, 0},
};
