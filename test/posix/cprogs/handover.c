#include "cprogs.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

/*
 * Who wakes a blocked call may have it finished in its own place. Here it races with
 * all else that can end, stop or change such a call: each byte arrives, and once.
 */

static void nothing(int sig) { (void)sig; }

/* exchange reads and writes numbers that go up by one, n times, and counts what is
 * out of order. A signal without SA_RESTART is no news. */
static int exchange(int in, int out, int n, int first)
{
	int wrong = 0;
	for (unsigned i = 0, v; i < (unsigned)n; i++) {
		if (first)
			while (write(out, &i, 4) < 0 && errno == EINTR)
				;
		ssize_t r;
		while ((r = read(in, &v, 4)) < 0 && errno == EINTR)
			;
		wrong += r != 4 || v != i;
		if (!first)
			while (write(out, &i, 4) < 0 && errno == EINTR)
				;
	}
	return wrong;
}

/* storm sends signals to p and q until it is killed. */
static pid_t storm(pid_t p, pid_t q)
{
	pid_t s = fork();
	if (s)
		return s;
	for (unsigned i = 0;; i++) {
		kill(i & 1 ? p : q, i & 2 ? SIGUSR1 : SIGUSR2);
		if (i % 8 == 0)
			usleep(50);
	}
}

static void under_signals(const char *what, int sockets)
{
	struct sigaction restart = {.sa_handler = nothing, .sa_flags = SA_RESTART}, interrupt = {.sa_handler = nothing};
	sigaction(SIGUSR1, &restart, 0);
	sigaction(SIGUSR2, &interrupt, 0);
	int a[2], b[2];
	if (sockets) {
		socketpair(AF_UNIX, SOCK_STREAM, 0, a);
		b[0] = a[1];
		b[1] = a[0];
	} else {
		pipe(a);
		pipe(b);
	}
	const int n = 2000;
	pid_t p = fork();
	if (p == 0)
		_exit(exchange(sockets ? a[1] : a[0], sockets ? a[1] : b[1], n, 0) != 0);
	pid_t s = storm(getpid(), p);
	int wrong = exchange(sockets ? a[0] : b[0], sockets ? a[0] : a[1], n, 1);
	kill(s, SIGKILL);
	int ws, left = 2;
	while (left > 0) {
		pid_t w = wait(&ws);
		if (w == p)
			status(what, ws);
		left -= w > 0;
	}
	say("%s: %d wrong", what, wrong);
}

static void handover_signals(void)
{
	under_signals("pipes", 0);
	under_signals("sockets", 1);
}

static void handover_killed(void)
{
	int ends = 0, killed = 0;
	for (int i = 0; i < 60; i++) {
		int a[2], b[2], ws;
		pipe(a);
		pipe(b);
		pid_t p = fork();
		if (p == 0) {
			close(a[1]);
			close(b[0]);
			exchange(a[0], b[1], 1 << 30, 0);
			_exit(1);
		}
		close(a[0]);
		close(b[1]);
		exchange(b[0], a[1], i, 1);
		if (i % 3 == 0) { /* in the middle of an answer */
			unsigned v = i;
			write(a[1], &v, 4);
		}
		kill(p, SIGKILL);
		char c[8];
		while (read(b[0], c, 8) > 0)
			;
		ends++;
		waitpid(p, &ws, 0);
		killed += WIFSIGNALED(ws) && WTERMSIG(ws) == SIGKILL;
		close(a[1]);
		close(b[0]);
	}
	say("%d ends, %d killed", ends, killed);
}

static int shared[2];

static void *reader(void *arg)
{
	long sum = 0, n;
	unsigned char c;
	while ((n = read(shared[0], &c, 1)) == 1 && c)
		sum += c;
	*(long *)arg = n == 1 ? sum : -1;
	return 0;
}

static void handover_threads(void)
{
	pthread_t t[3];
	long sums[3], sum = 0, want = 0;
	pipe(shared);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], 0, reader, &sums[i]);
	for (int i = 0; i < 3000; i++) {
		unsigned char c = 1 + i % 200;
		want += c;
		write(shared[1], &c, 1);
		if (i % 500 == 0)
			fcntl(shared[0], F_SETFL, i % 1000 ? 0 : O_NONBLOCK), fcntl(shared[0], F_SETFL, 0);
	}
	write(shared[1], "\0\0\0", 3);
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], 0);
		sum += sums[i] < 0 ? 0 : sums[i];
	}
	/* A reader that met O_NONBLOCK has ended early: nothing is lost all the same. */
	fcntl(shared[0], F_SETFL, O_NONBLOCK);
	for (unsigned char c; read(shared[0], &c, 1) == 1;)
		sum += c;
	for (int i = 0; i < 3; i++)
		if (sums[i] < 0)
			want = sum; /* what it had is not known */
	say("sum %s", sum == want ? "right" : "wrong");
}

/* sleeps says whether the first thread does. */
static int sleeps(void)
{
	char name[64], line[512] = "";
	snprintf(name, sizeof name, "/proc/self/task/%d/stat", getpid());
	int fd = open(name, O_RDONLY);
	int n = read(fd, line, sizeof line - 1);
	close(fd);
	return n > 0 && strstr(line, ") S ") != 0;
}

static void *closer(void *arg)
{
	msleep(2);
	for (int i = 0; i < 10000 && !sleeps(); i++) /* in the read that it is to be closed under */
		msleep(1);
	close(shared[0]);
	write(shared[1], arg, 1);
	return 0;
}

static void handover_closed(void)
{
	int got = 0;
	for (int i = 0; i < 20; i++) {
		pthread_t t;
		char c = 0;
		pipe(shared);
		int keep = dup(shared[0]); /* or the write fails */
		pthread_create(&t, 0, closer, "x");
		got += read(shared[0], &c, 1) == 1 && c == 'x';
		pthread_join(t, 0);
		close(keep);
		close(shared[1]);
	}
	say("closed while it is read: %d", got);
}

static void handover_shutdown(void)
{
	int right = 0;
	for (int i = 0; i < 200; i++) {
		int s[2], ws;
		socketpair(AF_UNIX, SOCK_STREAM, 0, s);
		pid_t p = fork();
		if (p == 0) {
			char c[4];
			close(s[1]);
			int n = 0, r;
			while ((r = recv(s[0], c, 1, 0)) == 1)
				n++;
			_exit(r == 0 ? n : 99);
		}
		close(s[0]);
		if (i % 2)
			usleep(200);
		send(s[1], "abc", i % 4, 0);
		shutdown(s[1], SHUT_WR);
		waitpid(p, &ws, 0);
		right += WIFEXITED(ws) && WEXITSTATUS(ws) == i % 4;
		close(s[1]);
	}
	say("shut down: %d right", right);
}

static void handover_traced(void)
{
	int a[2], b[2], ws, wrong = 0, stops = 0;
	pipe(a);
	pipe(b);
	pid_t p = fork();
	if (p == 0)
		_exit(exchange(a[0], b[1], 300, 0) != 0);
	for (unsigned i = 0, v; i < 300; i++) {
		int trace = i % 5 == 0;
		if (trace && ptrace(PTRACE_SEIZE, p, 0, 0) == 0)
			ptrace(PTRACE_INTERRUPT, p, 0, 0);
		write(a[1], &i, 4); /* to one that stops, or has stopped */
		if (trace) {
			stops += waitpid(p, &ws, __WALL) == p && WIFSTOPPED(ws);
			ptrace(PTRACE_DETACH, p, 0, 0);
		}
		wrong += read(b[0], &v, 4) != 4 || v != i;
	}
	waitpid(p, &ws, 0);
	status("traced", ws);
	say("%d wrong, %d stops", wrong, stops);
}

static void handover_ring(void)
{
	enum { nodes = 6, rounds = 300 };
	int p[nodes][2];
	for (int i = 0; i < nodes; i++)
		pipe(p[i]);
	for (int i = 1; i < nodes; i++)
		if (fork() == 0) {
			unsigned v;
			for (int r = 0; r < rounds; r++) {
				if (read(p[i][0], &v, 4) != 4)
					_exit(1);
				v++;
				if (r % 50 == i) { /* a child passes it on */
					if (fork() == 0) {
						write(p[(i + 1) % nodes][1], &v, 4);
						_exit(0);
					}
					wait(0);
				} else
					write(p[(i + 1) % nodes][1], &v, 4);
			}
			_exit(0);
		}
	unsigned v = 0;
	for (int r = 0; r < rounds; r++) {
		write(p[1][1], &v, 4);
		read(p[0][0], &v, 4);
	}
	int bad = 0, ws;
	while (wait(&ws) > 0)
		bad += ws != 0;
	say("token %u, %d bad", v, bad);
}

static void handover_poll(void)
{
	int e = eventfd(0, 0), back = eventfd(0, 0), ep = epoll_create1(0), ws;
	struct epoll_event ev = {.events = EPOLLIN};
	epoll_ctl(ep, EPOLL_CTL_ADD, back, &ev);
	pid_t p = fork();
	if (p == 0) {
		struct pollfd f = {e, POLLIN, 0};
		uint64_t n, sum = 0;
		for (int i = 0; i < 500; i++) {
			if (poll(&f, 1, i % 3 ? -1 : 60000) != 1)
				_exit(1);
			read(e, &n, 8);
			sum += n;
			n = 1;
			write(back, &n, 8);
		}
		_exit(sum == 500 ? 0 : 2);
	}
	int wrong = 0;
	for (int i = 0; i < 500; i++) {
		uint64_t n = 1;
		write(e, &n, 8);
		wrong += epoll_wait(ep, &ev, 1, i % 3 ? -1 : 60000) != 1;
		read(back, &n, 8);
		wrong += n != 1;
	}
	waitpid(p, &ws, 0);
	status("poll", ws);
	say("%d wrong", wrong);
}

/* A writer that fills the pipe waits for the reader that it has woken. */
static void handover_full(void)
{
	int p[2], ws;
	pipe(p);
	pid_t c = fork();
	if (c == 0) {
		close(p[1]);
		static char b[70000];
		long sum = 0, n;
		while ((n = read(p[0], b, 1 + sum % sizeof b)) > 0)
			sum += n;
		_exit(sum == 20 * 300000L ? 0 : 1);
	}
	static char b[300000];
	long sum = 0;
	for (int i = 0; i < 20; i++)
		sum += write(p[1], b, sizeof b);
	close(p[1]);
	waitpid(c, &ws, 0);
	status("full", ws);
	say("%ld written", sum);
}

const struct row handover_rows[] = {
	{"handover.signals", handover_signals},
	{"handover.killed", handover_killed},
	{"handover.threads", handover_threads},
	{"handover.closed", handover_closed},
	{"handover.shutdown", handover_shutdown},
	{"handover.traced", handover_traced},
	{"handover.ring", handover_ring},
	{"handover.poll", handover_poll},
	{"handover.full", handover_full},
	{0, 0},
};
