#include "cprogs.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <linux/sockios.h>

/*
 * A server that is told which connections have something for it, reads of each and writes to
 * each: the sandbox answers both without its kernel, by sites that have been called often. What
 * others see of it, and what they do meanwhile. A packet socket has connections over the
 * loopback go by the network's process.
 */

enum { HOT = 80 };

static int listener, ep;
static struct sockaddr_in where = {.sin_family = AF_INET};

/* One site for each call. */
__attribute__((noinline)) static long take(int fd, void *p, size_t n)
{
	long r = syscall(SYS_read, fd, p, n);
	return r < 0 ? -errno : r;
}

__attribute__((noinline)) static long put(int fd, const void *p, size_t n)
{
	long r = syscall(SYS_write, fd, p, n);
	return r < 0 ? -errno : r;
}

__attribute__((noinline)) static long receive(int fd, void *p, size_t n, int flags)
{
	long r = syscall(SYS_recvfrom, fd, p, n, flags, 0, 0);
	return r < 0 ? -errno : r;
}

__attribute__((noinline)) static long send_to(int fd, const void *p, size_t n, int flags)
{
	long r = syscall(SYS_sendto, fd, p, n, flags, 0, 0);
	return r < 0 ? -errno : r;
}

__attribute__((noinline)) static long gather(int fd, const struct iovec *v, int n)
{
	long r = syscall(SYS_writev, fd, v, n);
	return r < 0 ? -errno : r;
}

__attribute__((noinline)) static int events(int e, struct epoll_event *list, int n, int ms)
{
	return syscall(SYS_epoll_wait, e, list, n, ms);
}

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN);
	socket(AF_PACKET, SOCK_DGRAM, 0);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listener, (struct sockaddr *)&where, sizeof where);
	listen(listener, 128);
	socklen_t n = sizeof where;
	getsockname(listener, (struct sockaddr *)&where, &n);
	ep = epoll_create1(0);
}

/* A connection whose server's end is *s, in ep; gives the client's. */
static int joined(int *s, unsigned how)
{
	int one = 1, c = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(c, (struct sockaddr *)&where, sizeof where) < 0)
		err("connect", -1);
	*s = accept(listener, 0, 0);
	setsockopt(*s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	fcntl(*s, F_SETFL, O_NONBLOCK);
	struct epoll_event ev = {.events = how, .data.fd = *s};
	epoll_ctl(ep, EPOLL_CTL_ADD, *s, &ev);
	return c;
}

static void part(int s, int c)
{
	close(s);
	close(c);
}

/* The next event's descriptor, or -1. */
static int next(int ms)
{
	struct epoll_event ev;
	return events(ep, &ev, 1, ms) == 1 ? ev.data.fd : -1;
}

/* One request and its answer; how much of it is not as it should be. */
static int exchange(int s, int c, int i)
{
	char ask[64], got[64];
	int n = snprintf(ask, sizeof ask, "request %d", i), bad = 0;
	bad += write(c, ask, n) != n;
	bad += next(5000) != s;
	if (i & 1)
		bad += take(s, got, sizeof got) != n;
	else
		bad += receive(s, got, sizeof got, 0) != n;
	bad += memcmp(ask, got, n) != 0;
	got[0] = 'R';
	struct iovec v[3] = {{got, 1}, {got + 1, 0}, {got + 1, n - 1}};
	switch (i % 3) {
	case 0: bad += put(s, got, n) != n; break;
	case 1: bad += send_to(s, got, n, MSG_NOSIGNAL) != n; break;
	case 2: bad += gather(s, v, 3) != n; break;
	}
	memset(ask, 0, sizeof ask);
	bad += recv(c, ask, n, MSG_WAITALL) != n || memcmp(ask, got, n) != 0;
	return bad;
}

static void hot(void)
{
	int s, c = joined(&s, EPOLLIN), bad = 0;
	for (int i = 0; i < HOT; i++)
		bad += exchange(s, c, i);
	say("hot, bad %d", bad);
	part(s, c);
}

static void *reads_three(void *fd)
{
	char b[8];
	return (void *)take((int)(long)fd, b, 3);
}

static void *writes_three(void *fd)
{
	return (void *)put((int)(long)fd, "two", 3);
}

static void drained(const char *what, int c)
{
	char b[256];
	long n, all = 0;
	shutdown(c, SHUT_WR);
	while ((n = read(c, b + all, sizeof b - 1 - all)) > 0)
		all += n;
	b[all] = 0;
	say("%s: came %ld \"%s\", end %ld", what, all, b, n < 0 ? -(long)errno : n);
}

/* What else can be asked when something has arrived, or after an answer. */
static void asked(void)
{
	begin();
	hot();
	for (int what = 0; what < 34; what++) {
		int s, c = joined(&s, EPOLLIN | (what == 20 ? EPOLLET : 0)), other, ws, n = -1, fds[2];
		char b[64] = "";
		long r = 0, r2 = 0, r3 = 0;
		void *v;
		pthread_t t;
		struct pollfd p = {s, POLLIN | POLLOUT | POLLRDHUP, 0};
		exchange(s, c, 0); /* what it is used for is known */
		exchange(s, c, 1);
		write(c, "abcdefgh", 8);
		int told = next(5000) == s;
		switch (what) {
		case 0: r = take(s, b, 3); r2 = take(s, b + 3, 60); r3 = take(s, b + 20, 20); break;
		case 1: r = take(s, b, 3); ioctl(s, FIONREAD, &n); r2 = take(s, b + 3, 60); break;
		case 2: r = take(s, b, 2); r2 = receive(s, b + 2, 60, MSG_PEEK); r3 = take(s, b + 20, 20); break;
		case 3: other = dup(s); r = take(other, b, 3); r2 = take(s, b + 3, 60); close(other); break;
		case 4:
			r = take(s, b, 3);
			if (fork() == 0)
				_exit(take(s, b, 3));
			wait(&ws);
			n = ws >> 8;
			r2 = take(s, b + 3, 60);
			break;
		case 5:
			r = take(s, b, 1);
			pthread_create(&t, 0, reads_three, (void *)(long)s);
			pthread_join(t, &v);
			n = (long)v;
			r2 = take(s, b + 3, 60);
			break;
		case 6:
			r = take(s, b, 3);
			other = open("/dev/zero", O_RDONLY);
			dup2(other, s);
			r2 = take(s, b + 3, 4);
			n = b[3];
			close(other);
			break;
		case 7: close(s); r = take(s, b, 3); r2 = put(s, "x", 1); break;
		case 8: shutdown(s, SHUT_WR); r = take(s, b, 60); r2 = put(s, "x", 1); break;
		case 9: shutdown(s, SHUT_RD); r = take(s, b, 60); r2 = take(s, b + 20, 20); r3 = put(s, "x", 1); break;
		case 10: r = take(s, b, 60); poll(&p, 1, 0); n = p.revents; break;
		case 11: r = take(s, b, 4); poll(&p, 1, 0); n = p.revents; break;
		case 12: r = take(s, b, 60); r2 = next(0); r3 = take(s, b + 20, 20); break;
		case 13: r = take(s, b, 4); r2 = next(0) == s; r3 = take(s, b + 4, 20); break;
		case 14: write(c, "ijk", 3); msleep(20); r = take(s, b, 4); r2 = next(1000) == s; r3 = take(s, b + 4, 20); break;
		case 15: r = put(s, "one", 3); r2 = shutdown(s, SHUT_WR); r3 = put(s, "two", 3); break;
		case 16: r = put(s, "one", 3); close(s); r2 = put(s, "two", 3); break;
		case 17:
			r = put(s, "one", 3);
			pthread_create(&t, 0, writes_three, (void *)(long)s);
			pthread_join(t, &v);
			n = (long)v;
			r2 = put(s, "three", 5);
			break;
		case 18:
			r = put(s, "one", 3);
			if (fork() == 0)
				_exit(put(s, "two", 3));
			wait(&ws);
			n = ws >> 8;
			r2 = put(s, "three", 5);
			break;
		case 19: r = put(s, "one", 3); r2 = send(s, "two", 3, 0); r3 = put(s, "three", 5); break;
		case 20: /* an edge: a short read, then more */
			r = take(s, b, 60);
			r2 = next(0);
			write(c, "more", 4);
			r3 = next(5000) == s;
			n = take(s, b + 20, 30);
			break;
		case 21: shutdown(c, SHUT_WR); msleep(20); r = take(s, b, 60); r2 = take(s, b + 20, 8); r3 = put(s, "bye", 3); break;
		case 22: {
			struct linger l = {1, 0};
			setsockopt(c, SOL_SOCKET, SO_LINGER, &l, sizeof l);
			close(c);
			c = -1;
			for (int i = 0; i < 500 && !(p.revents & POLLHUP); i++, msleep(10))
				poll(&p, 1, 0);
			n = p.revents;
			r = put(s, "x", 1);
			r2 = put(s, "y", 1);
			r3 = take(s, b, 60);
			break;
		}
		case 23: {
			struct linger l = {1, 0};
			struct epoll_event ev;
			setsockopt(c, SOL_SOCKET, SO_LINGER, &l, sizeof l);
			close(c);
			c = -1;
			for (int i = 0; i < 500; i++, msleep(10))
				if (events(ep, &ev, 1, 1000) == 1 && ev.events & EPOLLHUP)
					break;
			n = ev.events;
			r = put(s, "x", 1);
			r2 = put(s, "y", 1);
			break;
		}
		case 24: {
			struct iovec v[2] = {{b, 2}, {b + 2, 3}};
			r = readv(s, v, 2);
			r2 = take(s, b + 5, 40);
			break;
		}
		case 25: {
			struct iovec v[2] = {{b, 2}, {b + 2, 3}};
			struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
			r = take(s, b, 1);
			r2 = recvmsg(s, &m, 0);
			break;
		}
		case 26:
			pipe(fds);
			r = take(s, b, 2);
			r2 = splice(s, 0, fds[1], 0, 3, 0);
			r3 = take(s, b + 2, 20);
			close(fds[0]);
			close(fds[1]);
			break;
		case 27:
			other = open("/bin/true", O_RDONLY);
			r = put(s, "one", 3);
			r2 = sendfile(s, other, 0, 4);
			r3 = put(s, "two", 3);
			close(other);
			break;
		case 28: n = 5; setsockopt(s, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n); r = take(s, b, 2); r2 = next(0) == s; r3 = take(s, b + 2, 20); break;
		case 29: r = put(s, "one", 3); ioctl(s, SIOCOUTQ, &n); n = n >= 0 && n <= 3; break;
		case 30: {
			struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = s};
			epoll_ctl(ep, EPOLL_CTL_MOD, s, &ev);
			r = next(1000) == s;
			r2 = take(s, b, 60);
			write(c, "more", 4);
			r3 = next(100);
			break;
		}
		case 31: r = put(s, (void *)16, 3); r2 = take(s, b, 60); break;
		case 32: {
			struct iovec v[3] = {{(void *)16, 2}, {"one", 3}, {"two", 3}}, w[10] = {{0}};
			for (int i = 0; i < 10; i++)
				w[i] = (struct iovec){"0123456789" + i, 1};
			r = gather(s, v, 3);
			r2 = gather(s, w, 10);
			r3 = gather(s, w, 2);
			break;
		}
		case 33: {
			static char big[20000];
			memset(big, 'b', sizeof big);
			r = put(s, "s", 1);
			r2 = put(s, big, sizeof big);
			r3 = put(s, "e", 1);
			long all = 0, k;
			while (all < (long)sizeof big + 2 && (k = read(c, big, sizeof big)) > 0)
				all += k;
			n = all;
			break;
		}
		}
		say("%d: told %d, %ld %ld %ld, %d, \"%.20s|%.20s\"", what, told, r, r2, r3, n, b, b + 20);
		if (what != 6 && what != 7 && what != 16)
			close(s);
		if (c >= 0)
			drained("client", c), close(c);
		if (what == 6)
			close(s);
	}
}

/* What was written before its writer's end, however it ends. */
static void ends(void)
{
	begin();
	hot();
	for (int how = 0; how < 5; how++) {
		int s, c = joined(&s, EPOLLIN), ws;
		pid_t child = fork();
		if (child == 0) {
			close(c);
			int again = epoll_create1(0);
			struct epoll_event ev = {.events = EPOLLIN, .data.fd = s};
			ep = again;
			epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
			char b[8];
			for (int i = 0; i < 6; i++) {
				next(5000);
				take(s, b, 4);
				put(s, "go", 2);
			}
			next(5000);
			take(s, b, 4);
			for (int i = 0; i < 10; i++)
				put(s, "0123456789" + i, 1);
			switch (how) {
			case 0: _exit(0);
			case 1: kill(getpid(), SIGKILL); break;
			case 2: *(volatile int *)8 = 1; break;
			case 3: execl("/bin/true", "true", (char *)0); break;
			default: __builtin_trap();
			}
		}
		close(s);
		char b[64], *p = b;
		for (int i = 0; i < 6; i++) {
			write(c, "more", 4);
			recv(c, b, 2, MSG_WAITALL);
		}
		write(c, "more", 4);
		long n, all = 0;
		while ((n = recv(c, p + all, 10 - all, 0)) > 0)
			all += n;
		waitpid(child, &ws, 0);
		say("%d: came %ld \"%.*s\", status %#x", how, all, (int)all, b, ws & ~0x80);
		close(c);
	}
}

/* Who writes and then never asks for anything again is heard all the same. */
static volatile unsigned heard;

static void *listens(void *fd)
{
	char b[8];
	while (read((int)(long)fd, b, 1) == 1) {
		heard++;
		syscall(SYS_futex, &heard, FUTEX_WAKE, 1, 0, 0, 0);
	}
	return 0;
}

static void silent(void)
{
	begin();
	hot();
	int s, c = joined(&s, EPOLLIN), bad = 0;
	pthread_t t;
	for (int i = 0; i < HOT; i++)
		exchange(s, c, i);
	pthread_create(&t, 0, listens, (void *)(long)c);
	for (int i = 0; i < 200; i++) {
		unsigned was = heard;
		write(c, "x", 1);
		char b[4];
		bad += next(5000) != s || take(s, b, 4) != 1;
		if (i % 4 == 3)
			msleep(2); /* nobody looks any more */
		bad += put(s, "y", 1) != 1;
		struct timespec ten = {10, 0};
		if (i & 1) {
			while (heard == was) /* waits natively */
				if (syscall(SYS_futex, &heard, FUTEX_WAIT, was, &ten, 0, 0) < 0 && errno == ETIMEDOUT) {
					bad++;
					break;
				}
		} else {
			for (long until = time(0) + 10; heard == was && time(0) < until;)
				;
			bad += heard == was;
		}
	}
	say("bad %d", bad);
	shutdown(s, SHUT_RDWR);
	pthread_join(t, 0);
}

/* Threads that share connections: what comes back is what was sent, in order. */
enum { CONNECTIONS = 12, BYTES = 6000 };

static int servers[CONNECTIONS], clients[CONNECTIONS];
static pthread_mutex_t turns[CONNECTIONS];
static volatile int stop;

static void *serves(void *arg)
{
	(void)arg;
	while (!stop) {
		struct epoll_event list[4];
		int n = events(ep, list, 4, 20);
		for (int i = 0; i < n; i++) {
			int at = list[i].data.u32;
			pthread_mutex_lock(&turns[at]);
			char b[300];
			long got = take(servers[at], b, sizeof b), done = 0;
			while (done < got) { /* in two, and rather by both ways */
				long k = done ? got - done : got / 2 + 1;
				struct iovec v[2] = {{b + done, k / 2}, {b + done + k / 2, k - k / 2}};
				long w = at & 1 ? put(servers[at], b + done, k) : gather(servers[at], v, 2);
				if (w > 0)
					done += w;
			}
			pthread_mutex_unlock(&turns[at]);
		}
	}
	return 0;
}

static void *plays(void *arg)
{
	int c = clients[(long)arg];
	unsigned seed = (long)arg + 1, check = seed;
	long sent = 0, back = 0, bad = 0;
	while (back < BYTES) {
		char b[200];
		int n = 1 + rand_r(&seed) % 60;
		if (n > BYTES - sent)
			n = BYTES - sent;
		for (int i = 0; i < n; i++)
			b[i] = (sent + i) * 7 + (long)arg;
		if (n > 0 && write(c, b, n) == n)
			sent += n;
		if (check++ % 3 && sent < BYTES)
			continue;
		struct timeval patient = {20, 0};
		setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &patient, sizeof patient);
		long k = recv(c, b, sizeof b, 0);
		if (k <= 0)
			return (void *)(bad + 1000000);
		for (int i = 0; i < k; i++)
			bad += b[i] != (char)((back + i) * 7 + (long)arg);
		back += k;
	}
	return (void *)bad;
}

static void crowd(void)
{
	begin();
	hot();
	pthread_t s[3], c[CONNECTIONS];
	for (long i = 0; i < CONNECTIONS; i++) {
		clients[i] = joined(&servers[i], 0);
		struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
		epoll_ctl(ep, EPOLL_CTL_MOD, servers[i], &ev);
		pthread_mutex_init(&turns[i], 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_create(&s[i], 0, serves, 0);
	for (long i = 0; i < CONNECTIONS; i++)
		pthread_create(&c[i], 0, plays, (void *)i);
	int ws, bad = 0;
	for (int i = 0; i < 30; i++) { /* others that take hold of the connections */
		int at = i % CONNECTIONS, copy = dup(servers[at]), n = 0;
		ioctl(copy, FIONREAD, &n);
		if (i % 10 == 0) {
			if (fork() == 0)
				_exit(0);
			wait(&ws);
			bad += ws != 0;
		}
		close(copy);
		msleep(1);
	}
	for (long i = 0; i < CONNECTIONS; i++) {
		void *v;
		pthread_join(c[i], &v);
		if ((long)v)
			say("connection %ld: %ld", i, (long)v), bad++;
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(s[i], 0);
	say("bad %d", bad);
}

/* The slot that GS leads to in the sandbox; 0 on Linux, where nothing does. */
static sigjmp_buf nowhere;

static void no_slot(int sig) { siglongjmp(nowhere, sig); }

static volatile char *own_slot(void)
{
	unsigned long at = 0;
	signal(SIGSEGV, no_slot);
	if (sigsetjmp(nowhere, 1) == 0)
		asm volatile("movq %%gs:0xe0, %0" : "=r"(at));
	signal(SIGSEGV, SIG_DFL);
	return (char *)at;
}

/* A program that may not write to its socket any more makes up a letter in the slot. */
static void filtered(void)
{
	enum { MAIL = 0x18, BOX = 0x5000, TABLE = 0xe200, TICKET = 16, SIZE = 24 }; /* platform/layout.go, pocket.go */
	begin();
	hot();
	int s, c = joined(&s, EPOLLIN), nr[] = {SYS_write, SYS_sendto, SYS_writev, SYS_sendmsg};
	exchange(s, c, 0);
	exchange(s, c, 1);
	volatile char *slot = own_slot();
	struct sock_filter code[16] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	for (int i = 0; i < 4; i++)
		code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr[i], 4 - i, 0);
	code[5] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[6] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
	code[7] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, s, 0, 1);
	code[8] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	code[9] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog p = {10, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	write(c, "abc", 3);
	int told = next(5000) == s;
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
	if (slot) {
		unsigned used = *(volatile unsigned *)(slot + MAIL);
		volatile char *letter = slot + BOX + used;
		*(volatile unsigned *)letter = *(volatile unsigned *)(slot + TABLE + s % 64 * SIZE + TICKET);
		*(volatile unsigned *)(letter + 4) = 6;
		memcpy((char *)letter + 8, "forged", 6);
		*(volatile unsigned *)(slot + MAIL) = used + 16;
	}
	close(-1);
	msleep(50);
	char b[16] = "";
	long n = recv(c, b, sizeof b, MSG_DONTWAIT);
	say("told %d, %ld, came %ld \"%s\"", told, r, n < 0 ? -(long)errno : n, b);
	n = put(s, "x", 1);
	say("write %ld, read %ld", n, take(s, b, 8));
}

const struct row pocket_rows[] = {
	{"pocket.asked", asked}, {"pocket.ends", ends}, {"pocket.silent", silent}, {"pocket.crowd", crowd}, {"pocket.filtered", filtered}, {0, 0},
};
