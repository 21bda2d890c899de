/* The urgent byte of a UNIX stream: MSG_OOB of send(2) and recv(2). */
#include "cprogs.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SIOCATMARK
#define SIOCATMARK 0x8905
#endif

static volatile sig_atomic_t urged;

static void urge(int sig)
{
	(void)sig;
	urged++;
}

/* take receives what there is and prints it. */
static void take(const char *what, int fd, int flags)
{
	char buf[64];
	ssize_t n = recv(fd, buf, sizeof buf, flags | MSG_DONTWAIT);
	if (n == -1)
		err(what, -1);
	else
		say("%s: %zd %.*s", what, n, (int)n, buf);
}

static void ready(const char *what, int fd)
{
	struct pollfd p = {fd, POLLIN | POLLPRI | POLLOUT, 0};
	int mark = -1;
	poll(&p, 1, 0);
	ioctl(fd, SIOCATMARK, &mark);
	say("%s: events %#x, mark %d", what, p.revents, mark);
}

static void stream(void)
{
	int s[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	signal(SIGURG, urge);
	fcntl(s[1], F_SETOWN, getpid());
	take("nothing urgent", s[1], MSG_OOB);
	err("no byte", send(s[0], "", 0, MSG_OOB));
	say("sent %zd", send(s[0], "hello", 5, MSG_OOB));
	for (long end = now() + 20000; !urged && now() < end;)
		msleep(1);
	say("SIGURG %d", urged);
	ready("sent", s[1]);
	int bytes = -1;
	ioctl(s[1], FIONREAD, &bytes);
	say("bytes %d", bytes);
	take("look at it", s[1], MSG_OOB | MSG_PEEK);
	take("up to it", s[1], 0);
	ready("at it", s[1]);
	take("it", s[1], MSG_OOB);
	take("it again", s[1], MSG_OOB);

	say("sent %zd", send(s[0], "ab", 2, MSG_OOB));
	say("sent %zd", send(s[0], "cd", 2, MSG_OOB));
	ready("two", s[1]);
	take("up to the second", s[1], 0);
	take("the second", s[1], MSG_OOB);
	ready("after", s[1]);

	say("sent %zd", send(s[0], "xy", 2, MSG_OOB));
	say("sent %zd", send(s[0], "z", 1, 0));
	take("before", s[1], 0);
	take("behind, without it", s[1], 0);
	take("it is gone", s[1], MSG_OOB);

	int on = 1;
	setsockopt(s[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
	say("sent %zd", send(s[0], "inline", 6, MSG_OOB));
	take("taken apart", s[1], MSG_OOB);
	take("before", s[1], 0);
	ready("at it", s[1]);
	take("inline", s[1], 0);
	ready("after", s[1]);
	close(s[0]);
	take("the end", s[1], 0);
}

static void others(void)
{
	int s[2];
	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	err("datagram", send(s[0], "x", 1, MSG_OOB));
	take("datagram", s[1], MSG_OOB);
	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s);
	err("packet", send(s[0], "x", 1, MSG_OOB));
	take("packet", s[1], MSG_OOB);

	/* A byte that comes with a descriptor, and is passed over. */
	int p[2];
	pipe(p);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec data = {"u", 1};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &p[1], sizeof(int));
	say("sent %zd", sendmsg(s[0], &m, MSG_OOB));
	close(p[1]);
	say("sent %zd", send(s[0], "v", 1, 0));
	take("behind it", s[1], 0);
	char b;
	say("the pipe has ended: %zd", read(p[0], &b, 1));
}

const struct row urgent_rows[] = {
	{"urgent.stream", stream},
	{"urgent.others", others},
	{NULL, NULL},
};
