/* How much a receiver waits for, looks ahead at, and sends in one: socket(7), udp(7). */
#include "cprogs.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

static int must(const char *what, int r)
{
	if (r == -1)
		err(what, -1), exit(1);
	return r;
}

/* Two sockets that talk: of TCP or UDP over the loopback, or of AF_UNIX. */
static void joined(int domain, int type, int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;

	if (domain == AF_UNIX) {
		must("socketpair", socketpair(domain, type, 0, fd));
		return;
	}
	int l = must("socket", socket(domain, type, 0));
	must("bind", bind(l, (void *)&a, sizeof a));
	if (type == SOCK_STREAM)
		must("listen", listen(l, 1));
	must("getsockname", getsockname(l, (void *)&a, &n));
	fd[0] = must("socket", socket(domain, type, 0));
	must("connect", connect(fd[0], (void *)&a, sizeof a));
	if (type == SOCK_STREAM) {
		fd[1] = must("accept", accept(l, 0, 0));
		close(l);
	} else {
		fd[1] = l;
	}
}

static int readable(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

/* Until as many bytes are there; over the loopback that takes a moment. */
static void arrived(int fd, int n)
{
	int have = 0;
	for (int i = 0; i < 1000 && have < n; i++) {
		ioctl(fd, FIONREAD, &have);
		usleep(1000);
	}
}

static int option(int fd, int name)
{
	int v = -77;
	socklen_t n = sizeof v;
	if (getsockopt(fd, SOL_SOCKET, name, &v, &n) == -1)
		return -errno;
	return v;
}

static void set(int fd, int level, int name, int v)
{
	if (setsockopt(fd, level, name, &v, sizeof v) == -1)
		err("set", -1);
}

static void *later(void *arg)
{
	int fd = (int)(long)arg;
	usleep(30000);
	send(fd, "defg", 4, 0);
	usleep(30000);
	send(fd, "hijklmnopqrst", 13, 0);
	return 0;
}

static void lowat(void)
{
	static const int domains[] = {AF_INET, AF_UNIX};
	for (int i = 0; i < 2; i++) {
		int fd[2], n;
		char b[100];
		pthread_t t;
		struct timeval tv = {0, 50000};

		joined(domains[i], SOCK_STREAM, fd);
		say("domain %d: at first %d", domains[i], option(fd[1], SO_RCVLOWAT));
		set(fd[1], SOL_SOCKET, SO_RCVLOWAT, 10);
		send(fd[0], "abc", 3, 0);
		arrived(fd[1], 3);
		if (domains[i] == AF_INET) /* of AF_UNIX poll(2) does not go by it */
			say("three bytes: readable %d", readable(fd[1]));
		n = recv(fd[1], b, sizeof b, MSG_DONTWAIT | MSG_PEEK);
		say("without waiting, a look: %d", n);
		n = recv(fd[1], b, 2, 0);
		say("less is asked for: %d", n);
		pthread_create(&t, 0, later, (void *)(long)fd[0]);
		n = recv(fd[1], b, sizeof b, 0);
		say("waited for: %d at least: %d", 10, n >= 10);
		pthread_join(t, 0);
		while (recv(fd[1], b, sizeof b, MSG_DONTWAIT) > 0)
			;
		pthread_create(&t, 0, later, (void *)(long)fd[0]);
		n = read(fd[1], b, sizeof b);
		say("read: %d at least: %d", 10, n >= 10);
		pthread_join(t, 0);
		while (recv(fd[1], b, sizeof b, MSG_DONTWAIT) > 0)
			;
		send(fd[0], "0123456789", 10, 0);
		arrived(fd[1], 10);
		say("ten: readable %d", readable(fd[1]));
		recv(fd[1], b, 9, 0);
		if (domains[i] == AF_INET)
			say("one is left: readable %d", readable(fd[1]));
		set(fd[1], SOL_SOCKET, SO_RCVLOWAT, 1);
		say("one is enough: readable %d", readable(fd[1]));
		recv(fd[1], b, 9, 0);
		set(fd[1], SOL_SOCKET, SO_RCVLOWAT, 10);
		setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		send(fd[0], "xyz", 3, 0);
		n = recv(fd[1], b, sizeof b, 0);
		say("when the time is over: %d", n);
		send(fd[0], "xyz", 3, 0);
		close(fd[0]);
		n = recv(fd[1], b, sizeof b, 0);
		say("the end: %d, readable %d", n, readable(fd[1]));
		set(fd[1], SOL_SOCKET, SO_RCVLOWAT, 0);
		say("of none: %d", option(fd[1], SO_RCVLOWAT));
		close(fd[1]);
	}
}

static void look(int fd, int room, int flags)
{
	char b[100];
	struct iovec v = {b, room};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	int n = recvmsg(fd, &m, MSG_DONTWAIT | flags);
	if (n == -1)
		err("look", -1);
	else
		say("%s %d of room %d: '%.*s'%s, then at %d", flags & MSG_PEEK ? "peek" : "take", n, room, n < room ? n : room, b,
		    m.msg_flags & MSG_TRUNC ? " cut" : "", option(fd, SO_PEEK_OFF));
}

static void peekoff(void)
{
	static const struct {
		int domain, type;
	} kinds[] = {{AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM}, {AF_UNIX, SOCK_SEQPACKET}};
	for (int i = 0; i < 5; i++) {
		int fd[2];
		joined(kinds[i].domain, kinds[i].type, fd);
		say("domain %d type %d: at first %d", kinds[i].domain, kinds[i].type, option(fd[1], SO_PEEK_OFF));
		send(fd[0], "abcdef", 6, 0);
		send(fd[0], "ghi", 3, 0);
		arrived(fd[1], kinds[i].type == SOCK_STREAM ? 9 : 6);
		usleep(20000);
		look(fd[1], 4, MSG_PEEK);
		look(fd[1], 4, MSG_PEEK);
		set(fd[1], SOL_SOCKET, SO_PEEK_OFF, 0);
		look(fd[1], 4, MSG_PEEK);
		look(fd[1], 10, MSG_PEEK);
		look(fd[1], 10, MSG_PEEK);
		look(fd[1], 10, MSG_PEEK);
		set(fd[1], SOL_SOCKET, SO_PEEK_OFF, 2);
		look(fd[1], 3, MSG_PEEK);
		look(fd[1], 3, 0);
		look(fd[1], 10, MSG_PEEK);
		set(fd[1], SOL_SOCKET, SO_PEEK_OFF, 50);
		look(fd[1], 10, MSG_PEEK);
		set(fd[1], SOL_SOCKET, SO_PEEK_OFF, -1);
		look(fd[1], 10, MSG_PEEK);
		look(fd[1], 10, 0);
		set(fd[1], SOL_SOCKET, SO_PEEK_OFF, -5);
		say("below: %d", option(fd[1], SO_PEEK_OFF));
		close(fd[0]);
		close(fd[1]);
	}
	int raw = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), nl = socket(AF_NETLINK, SOCK_RAW, 0);
	say("of UDP %d, of netlink %d", option(raw, SO_PEEK_OFF), option(nl, SO_PEEK_OFF));
}

static void take(const char *what, int fd)
{
	char b[100];
	int n = recv(fd, b, sizeof b, MSG_DONTWAIT);
	if (n == -1)
		err(what, -1);
	else
		say("%s: %d '%.*s'", what, n, n, b);
}

static void cork(void)
{
	int fd[2], other[2];
	static char big[60000];
	joined(AF_INET, SOCK_DGRAM, fd);
	joined(AF_INET, SOCK_DGRAM, other);
	say("send %zd", send(fd[0], "one ", 4, MSG_MORE));
	take("not yet", fd[1]);
	say("send %zd", send(fd[0], "two ", 4, MSG_MORE));
	say("send %zd", send(fd[0], "three", 5, 0));
	take("together", fd[1]);

	set(fd[0], IPPROTO_UDP, UDP_CORK, 7);
	int v = 0;
	socklen_t n = sizeof v;
	getsockopt(fd[0], IPPROTO_UDP, UDP_CORK, &v, &n);
	say("corked %d", v);
	say("send %zd", send(fd[0], "a", 1, 0));
	say("write %zd", write(fd[0], "b", 1));
	struct sockaddr_in a;
	n = sizeof a;
	getsockname(other[1], (void *)&a, &n);
	say("elsewhere %zd", sendto(fd[0], "c", 1, 0, (void *)&a, sizeof a));
	take("not yet", fd[1]);
	set(fd[0], IPPROTO_UDP, UDP_CORK, 0);
	take("uncorked", fd[1]);
	take("elsewhere", other[1]);

	set(fd[0], IPPROTO_UDP, UDP_CORK, 1);
	say("send %zd", send(fd[0], big, sizeof big, 0));
	ssize_t got = send(fd[0], big, sizeof big, 0);
	err("too long", got);
	set(fd[0], IPPROTO_UDP, UDP_CORK, 0);
	take("nothing is left", fd[1]);
	say("nothing %zd", send(fd[0], "", 0, MSG_MORE));
	say("send %zd", send(fd[0], "x", 1, 0));
	take("with nothing", fd[1]);
	int alone = socket(AF_INET, SOCK_DGRAM, 0);
	got = send(alone, "x", 1, MSG_MORE);
	err("no peer", got);
	for (int i = 0; i < 2; i++)
		close(fd[i]), close(other[i]);
}

static void *whole(void *arg)
{
	int fd = (int)(long)arg;
	for (int i = 0; i < 5; i++) {
		usleep(10000);
		send(fd, "xx", 2, 0);
	}
	return 0;
}

static void waitall(void)
{
	static const int domains[] = {AF_INET, AF_UNIX};
	for (int i = 0; i < 2; i++) {
		int fd[2];
		char b[100];
		pthread_t t;
		joined(domains[i], SOCK_STREAM, fd);
		pthread_create(&t, 0, whole, (void *)(long)fd[0]);
		if (domains[i] == AF_INET)
			say("peek of all: %zd", recv(fd[1], b, 10, MSG_WAITALL | MSG_PEEK));
		say("all: %zd", recv(fd[1], b, 10, MSG_WAITALL));
		pthread_join(t, 0);
		send(fd[0], "abc", 3, 0);
		close(fd[0]);
		say("the end: %zd", recv(fd[1], b, 10, MSG_WAITALL | MSG_PEEK));
		say("the end: %zd", recv(fd[1], b, 10, MSG_WAITALL));
		close(fd[1]);
	}
}

/* The largest segment that a connection sends, over the loopback. */
static void maxseg(void)
{
	int fd[2], v;
	socklen_t n = sizeof v;
	joined(AF_INET, SOCK_STREAM, fd);
	for (int i = 0; i < 2; i++) {
		getsockopt(fd[i], IPPROTO_TCP, TCP_MAXSEG, &v, &n);
		say("connected: %d", v);
	}
	int s = socket(AF_INET, SOCK_STREAM, 0);
	getsockopt(s, IPPROTO_TCP, TCP_MAXSEG, &v, &n);
	say("at first: %d", v);
	set(s, IPPROTO_TCP, TCP_MAXSEG, 1000);
	getsockopt(s, IPPROTO_TCP, TCP_MAXSEG, &v, &n);
	say("set: %d", v);
}

/* What began a connection: without what is chosen at random or counts. */
static void savedsyn(void)
{
	for (int mode = 0; mode < 3; mode++) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t n = sizeof a;
		unsigned char b[200];
		int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);

		set(l, IPPROTO_TCP, TCP_SAVE_SYN, mode);
		bind(l, (void *)&a, sizeof a);
		listen(l, 1);
		getsockname(l, (void *)&a, &n);
		connect(c, (void *)&a, sizeof a);
		int s = accept(l, 0, 0);
		if (mode) {
			n = 10;
			err("too little room", getsockopt(s, IPPROTO_TCP, TCP_SAVED_SYN, b, &n));
		}
		n = sizeof b;
		err("saved", getsockopt(s, IPPROTO_TCP, TCP_SAVED_SYN, b, &n));
		char text[500] = "";
		int ip = mode == 2 ? 14 : 0;
		for (int i = 0; i < (int)n; i++) {
			int k = i - ip, t = k - 20; /* in IP's header, in TCP's */
			int chance = k == 4 || k == 5 || k == 10 || k == 11 || (t >= 0 && t < 8) || t == 16 || t == 17 || (t >= 28 && t < 32) ||
				t == 39; /* the window's scale goes by tcp_rmem */
			sprintf(text + 2 * i, chance ? "--" : "%02x", b[i]);
		}
		say("mode %d: %d bytes %s", mode, n, text);
		n = sizeof b;
		err("again", getsockopt(s, IPPROTO_TCP, TCP_SAVED_SYN, b, &n));
		say("%d bytes", n);
		close(s), close(c), close(l);
	}
}

/* A filter sees the datagram from UDP's header on, and its value cuts what passes. */
static void filter(void)
{
	struct sock_filter even[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 10),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {sizeof even / sizeof *even, even};
	struct timeval patience = {.tv_sec = 20};
	int fd[2], none = 0;

	joined(AF_INET, SOCK_DGRAM, fd);
	err("attach", setsockopt(fd[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
	setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	for (char c = '0'; c < '7'; c++) {
		char b[3] = {c, 'a', 'b'};
		must("send", send(fd[0], b, sizeof b, 0));
	}
	for (int i = 0; i < 4; i++) {
		char b[8] = "";
		ssize_t n = recv(fd[1], b, sizeof b - 1, MSG_TRUNC);
		say("%zd %s", n, b);
	}
	err("more", recv(fd[1], &program, 1, MSG_DONTWAIT));
	err("detach", setsockopt(fd[1], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none));
	must("send", send(fd[0], "1ab", 3, 0));
	say("%zd", recv(fd[1], &program, sizeof program, 0));
}

const struct row sockread_rows[] = {
	{"sockread.filter", filter},
	{"sockread.lowat", lowat},
	{"sockread.peekoff", peekoff},
	{"sockread.cork", cork},
	{"sockread.waitall", waitall},
	{"sockread.maxseg", maxseg},
	{"sockread.savedsyn", savedsyn},
	{0, 0},
};
