/*
 * One end of a TCP connection.
 *
 *	micro net serve PORT               answers until it is ended: prints "ready" when it listens
 *	micro net reach ADDRESS PORT       waits until somebody listens there
 *	micro net exchange ADDRESS PORT N  nanoseconds for one byte there and back
 *	micro net connect ADDRESS PORT N   nanoseconds for connect, accept and close of both ends
 *	micro net loopback WHAT N          the same with a server of its own, on 127.0.0.1
 *
 * A served connection that sends nothing is closed at the other end's close;
 * each byte is answered by one byte.
 */
#define _GNU_SOURCE
#include "micro.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		die(host);
	return a;
}

/* Connected is a connected socket, -1 where nobody listens. */
static int connected(const struct sockaddr_in *a)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	if (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0) {
		if (errno != ECONNREFUSED && errno != EHOSTUNREACH)
			die("connect");
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static int reach(const struct sockaddr_in *a)
{
	for (double end = now() + 10e9; now() < end;) {
		int fd = connected(a);
		if (fd >= 0)
			return fd;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, 0);
	}
	die("nobody listens");
	return -1;
}

static int listening(struct sockaddr_in *a)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof *a;
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)a, sizeof *a) < 0 || listen(fd, 1024) < 0 || getsockname(fd, (struct sockaddr *)a, &size) < 0)
		die("listen");
	return fd;
}

static void serve(int listener)
{
	for (;;) {
		int one = 1, fd = accept(listener, 0, 0);
		if (fd < 0)
			die("accept");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		char c;
		while (read(fd, &c, 1) == 1 && write(fd, &c, 1) == 1)
			;
		close(fd);
	}
}

static void exchanges(const struct sockaddr_in *a, long n)
{
	char c = 0;
	int fd = reach(a);
	for (long i = -100; i < n; i++) {
		static double start;
		if (i == 0)
			start = now();
		if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
			die("exchange");
		if (i == n - 1)
			printf("%.1f\n", (now() - start) / n);
	}
	close(fd);
}

/* The client waits for the server's close, so that one connection is gone
 * before the next and the two ends' work is all counted. */
static void connects(const struct sockaddr_in *a, long n)
{
	char c;
	close(reach(a));
	double start = now();
	for (long i = 0; i < n; i++) {
		int fd = connected(a);
		if (fd < 0)
			die("connect");
		shutdown(fd, SHUT_WR);
		if (read(fd, &c, 1) != 0)
			die("read at the end");
		close(fd);
	}
	printf("%.1f\n", (now() - start) / n);
}

static void client(const char *what, const struct sockaddr_in *a, long n)
{
	if (strcmp(what, "exchange") == 0)
		exchanges(a, n);
	else
		connects(a, n);
}

int net(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && strcmp(argv[0], "serve") == 0) {
		struct sockaddr_in a = address("0.0.0.0", argv[1]);
		int fd = listening(&a);
		printf("ready\n");
		fflush(stdout);
		serve(fd);
	}
	if (argc == 3 && strcmp(argv[0], "reach") == 0) {
		struct sockaddr_in a = address(argv[1], argv[2]);
		close(reach(&a));
		return 0;
	}
	if (argc == 3 && strcmp(argv[0], "loopback") == 0) {
		struct sockaddr_in a = address("127.0.0.1", "0");
		int fd = listening(&a);
		pid_t p = fork();
		if (p < 0)
			die("fork");
		if (p == 0)
			serve(fd);
		client(argv[1], &a, atol(argv[2]));
		kill(p, SIGKILL);
		waitpid(p, 0, 0);
		return 0;
	}
	if (argc == 4) {
		struct sockaddr_in a = address(argv[1], argv[2]);
		client(argv[0], &a, atol(argv[3]));
		return 0;
	}
	fprintf(stderr, "usage: micro net serve|reach|exchange|connect|loopback ...\n");
	return 1;
}
