/* Calls that give an answer at once. */
#define _GNU_SOURCE
#include "micro.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *file = "/etc/hostname";

static int opened(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		die(path);
	return fd;
}

static void op_getpgid(long n)
{
	while (n--)
		getpgid(0);
}

static void op_getpid(long n)
{
	while (n--)
		syscall(SYS_getpid);
}

static void op_clock(long n)
{
	struct timespec t;
	while (n--)
		clock_gettime(CLOCK_MONOTONIC, &t);
}

static void op_zero(long n)
{
	char c;
	int fd = opened("/dev/zero");
	while (n--)
		if (read(fd, &c, 1) != 1)
			die("read /dev/zero");
	close(fd);
}

static void read_file(long n, size_t size)
{
	static char b[64 << 10];
	int fd = opened("/proc/self/exe");
	while (n--)
		if (pread(fd, b, size, 0) != (ssize_t)size)
			die("pread");
	close(fd);
}

static void op_read4(long n)
{
	read_file(n, 4 << 10);
}

static void op_read64(long n)
{
	read_file(n, 64 << 10);
}

static void op_open(long n)
{
	while (n--)
		close(opened(file));
}

static void op_stat(long n)
{
	struct stat st;
	while (n--)
		if (stat(file, &st) < 0)
			die(file);
}

static void op_stat_missing(long n)
{
	struct stat st;
	while (n--)
		if (stat("/usr/lib/none", &st) == 0)
			die("/usr/lib/none is there");
}

static void op_pipe(long n)
{
	int p[2];
	char c = 0;
	if (pipe(p) < 0)
		die("pipe");
	while (n--)
		if (write(p[1], &c, 1) != 1 || read(p[0], &c, 1) != 1)
			die("pipe: write, read");
	close(p[0]);
	close(p[1]);
}

static void op_epoll(long n)
{
	struct epoll_event e = {.events = EPOLLIN};
	int ep = epoll_create1(0), ev = eventfd(0, 0);
	if (ep < 0 || ev < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) < 0)
		die("epoll_ctl");
	while (n--) {
		uint64_t v = 1;
		if (write(ev, &v, sizeof v) != sizeof v)
			die("write eventfd");
		if (epoll_wait(ep, &e, 1, -1) != 1)
			die("epoll_wait");
		if (read(ev, &v, sizeof v) != sizeof v)
			die("read eventfd");
	}
	close(ep);
	close(ev);
}

const struct op calls[] = {
	{"getpgid", op_getpgid, 0},
	{"getpid by syscall(2)", op_getpid, 0},
	{"clock_gettime", op_clock, 0},
	{"read 1 B of /dev/zero", op_zero, 0},
	{"read 4 KiB of a file", op_read4, 0},
	{"read 64 KiB of a file", op_read64, 0},
	{"open+close", op_open, 0},
	{"stat", op_stat, 0},
	{"stat, no such file", op_stat_missing, 0},
	{"pipe write+read", op_pipe, 0},
	{"eventfd+epoll", op_epoll, 0},
	{0},
};
