/* One byte, or a turn, there and back between two threads or processes. */
#define _GNU_SOURCE
#include "micro.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int turn;

static void pass(int from, int to)
{
	while (turn != from)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, to, 0, 0, 0);
	turn = to;
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void *partner(void *p)
{
	for (long n = *(long *)p; n--;)
		pass(1, 0);
	return 0;
}

static void op_futex(long n)
{
	pthread_t t;
	long copy = n;
	turn = 0;
	if (pthread_create(&t, 0, partner, &copy) != 0)
		die("pthread_create");
	while (n--)
		pass(0, 1);
	pthread_join(t, 0);
}

static void exchange(int out, int in)
{
	char c = 0;
	if (write(out, &c, 1) != 1 || read(in, &c, 1) != 1)
		die("exchange");
}

/* Between does n exchanges with a child that echoes from its descriptors. */
static void between(long n, int out, int in, int childin, int childout)
{
	pid_t p = fork();
	if (p < 0)
		die("fork");
	if (p == 0) {
		char c;
		for (long i = 0; i < n; i++)
			if (read(childin, &c, 1) != 1 || write(childout, &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	while (n--)
		exchange(out, in);
	int ws;
	if (waitpid(p, &ws, 0) != p || ws != 0)
		die("waitpid");
}

static void op_pipe(long n)
{
	int a[2], b[2];
	if (pipe(a) < 0 || pipe(b) < 0)
		die("pipe");
	between(n, a[1], b[0], a[0], b[1]);
	close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

static void op_socketpair(long n)
{
	int s[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0)
		die("socketpair");
	between(n, s[0], s[0], s[1], s[1]);
	close(s[0]), close(s[1]);
}

const struct op handoffs[] = {
	{"futex ping-pong", op_futex, 0},
	{"pipe ping-pong", op_pipe, 0},
	{"socketpair ping-pong", op_socketpair, 0},
	{0},
};
