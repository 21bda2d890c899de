#include "cprogs.h"

#include <sys/epoll.h>

/*
 * A file that a run-time makes non-blocking, offers to epoll, which refuses it, and makes
 * blocking again: the sandbox answers that without its kernel, by sites that have been
 * called often. What others see of it, and what they change meanwhile.
 */

enum { HOT = 60, ROUNDS = 48, LARGE = 0100000 };

static char path[256];
static int poll_fd;
static struct epoll_event event = {.events = EPOLLIN};

/* One site for each call. */
__attribute__((noinline)) static long control(int fd, int cmd, long arg)
{
	long r = syscall(SYS_fcntl, fd, cmd, arg);
	return r < 0 ? -errno : r;
}

__attribute__((noinline)) static long offer(int ep, int op, int fd, void *ev)
{
	return syscall(SYS_epoll_ctl, ep, op, fd, ev) < 0 ? -errno : 0;
}

__attribute__((noinline)) static int opened(int flags)
{
	return syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

static void begin(void)
{
	snprintf(path, sizeof path, "%s/trial.%d", getenv("SCRATCH"), getpid());
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	say("wrote %d", (int)write(fd, "bytes", 5));
	close(fd);
	poll_fd = epoll_create1(0);
}

/* One round as a run-time makes it; how much of it is not as it should be. */
static int round_of(int mode)
{
	int bad = 0, fd = opened(mode | O_CLOEXEC);
	long was = control(fd, F_GETFL, 0);
	bad += was != (mode | LARGE);
	bad += control(fd, F_SETFL, was | O_NONBLOCK) != 0;
	bad += offer(poll_fd, EPOLL_CTL_ADD, fd, &event) != -EPERM;
	bad += control(fd, F_GETFL, 0) != (was | O_NONBLOCK);
	bad += control(fd, F_SETFL, was) != 0;
	bad += control(fd, F_GETFL, 0) != was;
	close(fd);
	return bad;
}

static void hot(void)
{
	int bad = 0;
	for (int i = 0; i < HOT; i++)
		bad += round_of(i & 1 ? O_RDONLY : O_RDWR);
	say("hot, bad %d", bad);
}

/* What else can be asked in between, each of a file that has just been made non-blocking. */
static void asked(void)
{
	begin();
	hot();
	char b[8], line[64];
	for (int what = 0; what < 13; what++) {
		int fd = opened(O_RDWR), other = -1, ws;
		long r = control(fd, F_SETFL, O_NONBLOCK);
		switch (what) {
		case 0: other = dup(fd); r = control(other, F_GETFL, 0); break;
		case 1:
			if (fork() == 0)
				_exit(control(fd, F_GETFL, 0) == (O_RDWR | LARGE | O_NONBLOCK));
			wait(&ws);
			r = WEXITSTATUS(ws);
			break;
		case 2: r = control(fd, F_SETFL, O_APPEND); break;
		case 3: r = offer(poll_fd, EPOLL_CTL_ADD, fd, 0); break;
		case 4: r = offer(poll_fd, EPOLL_CTL_MOD, fd, &event); break;
		case 5: r = offer(poll_fd, EPOLL_CTL_DEL, fd, 0); break;
		case 6: r = offer(99, EPOLL_CTL_ADD, fd, &event); break;
		case 7: r = offer(fd, EPOLL_CTL_ADD, fd, &event); break;
		case 8: r = offer(poll_fd, EPOLL_CTL_ADD, 99, &event); break;
		case 9: r = control(-1, F_GETFL, 0); break;
		case 10: r = read(fd, b, 8); break;
		case 11:
			snprintf(line, sizeof line, "/proc/self/fdinfo/%d", fd);
			FILE *f = fopen(line, "r");
			while (fgets(line, sizeof line, f))
				if (!strncmp(line, "flags:", 6))
					r = strtol(line + 6, 0, 8);
			fclose(f);
			break;
		case 12: close(fd); r = control(fd, F_GETFL, 0); break;
		}
		say("%d: %ld, then %lo", what, r, control(fd, F_GETFL, 0));
		close(other);
		close(fd);
	}
	int was = poll_fd;
	close(poll_fd);
	int fd = opened(O_RDONLY);
	say("no instance %d", offer(was, EPOLL_CTL_ADD, fd, &event) == (fd == was ? -EPERM : -EBADF));
	unlink(path);
}

/* Two threads that take turns by memory alone, so that what one does is before what the
 * other does next, though neither makes a call for it. */
static volatile int turn, wrong, fd_now;

static void wait_turn(int n)
{
	while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != n)
		sched_yield(); /* of which the sandbox's kernel does not hear */
}

static void next_turn(void)
{
	__atomic_add_fetch(&turn, 1, __ATOMIC_SEQ_CST);
}

static void *meddler(void *arg)
{
	(void)arg;
	for (int i = 0, n = 1; i < ROUNDS; i++, n += 2) {
		wait_turn(n);
		int fd = fd_now, other;
		switch (i % 6) {
		case 0: wrong += control(fd, F_GETFL, 0) != (O_RDWR | LARGE | O_NONBLOCK); break;
		case 1: wrong += control(fd, F_SETFL, O_APPEND) != 0; break;
		case 2: wrong += close(fd) != 0; break;
		case 3:
			other = open("/dev/null", O_WRONLY);
			wrong += dup2(other, fd) != fd;
			close(other);
			break;
		case 4: wrong += close(poll_fd) != 0; break;
		case 5:
			if (fork() == 0)
				_exit(control(fd, F_GETFL, 0) == (O_RDWR | LARGE | O_NONBLOCK) ? 5 : 6);
			int ws;
			wait(&ws);
			wrong += WEXITSTATUS(ws) != 5;
			break;
		}
		next_turn();
	}
	return 0;
}

static void meddled(void)
{
	begin();
	hot();
	pthread_t t;
	pthread_create(&t, 0, meddler, 0);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = opened(O_RDWR);
		fd_now = fd;
		wrong += control(fd, F_SETFL, O_NONBLOCK) != 0;
		next_turn();
		wait_turn(2 * i + 2);
		long r = control(fd, F_GETFL, 0), p = offer(poll_fd, EPOLL_CTL_ADD, fd, &event);
		switch (i % 6) {
		case 1: wrong += r != (O_RDWR | LARGE | O_APPEND) || p != -EPERM; break;
		case 2: wrong += r != -EBADF || p != -EBADF; break;
		case 3: wrong += r != (O_WRONLY | LARGE) || p != -EPERM; break;
		case 4: wrong += r != (O_RDWR | LARGE | O_NONBLOCK) || p != -EBADF; poll_fd = epoll_create1(0); hot(); break;
		default: wrong += r != (O_RDWR | LARGE | O_NONBLOCK) || p != -EPERM;
		}
		close(fd);
	}
	pthread_join(t, 0);
	say("wrong %d", wrong);
	unlink(path);
}

/* Many threads that open and try, and one that opens, closes and forks in between. */
static volatile int stop;

static void *tries(void *arg)
{
	long bad = 0;
	(void)arg;
	while (!stop)
		bad += round_of(O_RDONLY);
	return (void *)bad;
}

static void crowd(void)
{
	begin();
	hot();
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], 0, tries, 0);
	long bad = 0;
	for (int i = 0; i < 100; i++) {
		bad += round_of(O_RDWR);
		int fd = opened(O_RDONLY), copy = dup(fd), ws;
		control(fd, F_SETFL, O_NONBLOCK);
		bad += control(copy, F_GETFL, 0) != (LARGE | O_NONBLOCK);
		close(copy);
		close(fd);
		if (i % 30 == 0) {
			if (fork() == 0)
				_exit(round_of(O_RDONLY));
			wait(&ws);
			bad += ws != 0;
		}
	}
	stop = 1;
	for (int i = 0; i < 3; i++) {
		void *b;
		pthread_join(t[i], &b);
		bad += (long)b;
	}
	say("bad %ld", bad);
	unlink(path);
}

const struct row trial_rows[] = {
	{"trial.asked", asked}, {"trial.meddled", meddled}, {"trial.crowd", crowd}, {0, 0},
};
