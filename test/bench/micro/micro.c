/*
 * Micro times single operations and prints, for each, its name and nanoseconds
 * for one. The driver (test/bench) runs it natively, in the sandbox and under
 * runc by turns. Statically linked, so that it is the same program everywhere.
 *
 *	micro           all of them
 *	micro NAME...   some
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { page = 4096 };
static const char *file = "/etc/hostname";

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Each operation does itself n times. */

static void op_getppid(long n)
{
	while (n--)
		syscall(SYS_getppid);
}

static void op_read(long n)
{
	char b[page];
	int fd = open("/bin/true", O_RDONLY);
	while (n--)
		if (pread(fd, b, sizeof b, 0) < 0)
			exit(1);
	close(fd);
}

static void op_open(long n)
{
	while (n--)
		close(open(file, O_RDONLY));
}

static void op_stat(long n)
{
	struct stat st;
	while (n--)
		stat(file, &st);
}

static void op_stat_missing(long n)
{
	struct stat st;
	while (n--)
		stat("/usr/lib/none", &st);
}

static void op_fork(long n)
{
	while (n--) {
		pid_t p = fork();
		if (p == 0)
			_exit(0);
		waitpid(p, 0, 0);
	}
}

static void op_exec(long n)
{
	while (n--) {
		pid_t p = fork();
		if (p == 0) {
			execl("/proc/self/exe", "micro", "exit", (char *)0);
			_exit(1);
		}
		int ws;
		waitpid(p, &ws, 0);
		if (ws != 0)
			exit(1);
	}
}

static void *nothing(void *p)
{
	return p;
}

static void op_thread(long n)
{
	while (n--) {
		pthread_t t;
		if (pthread_create(&t, 0, nothing, 0) != 0)
			exit(1);
		pthread_join(t, 0);
	}
}

static void op_mmap(long n)
{
	while (n--)
		munmap(mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), page);
}

static void op_fault(long n)
{
	const long chunk = 4096;
	while (n > 0) {
		char *p = mmap(0, chunk * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		madvise(p, chunk * page, MADV_NOHUGEPAGE);
		for (long i = 0; i < chunk; i++)
			p[i * page] = 1;
		munmap(p, chunk * page);
		n -= chunk;
	}
}

static void op_pipe(long n)
{
	int a[2], b[2];
	char c = 0;
	if (pipe(a) || pipe(b))
		exit(1);
	pid_t p = fork();
	if (p == 0) {
		close(a[1]);
		while (read(a[0], &c, 1) == 1)
			if (write(b[1], &c, 1) != 1)
				break;
		_exit(0);
	}
	close(a[0]);
	while (n--)
		if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1)
			exit(1);
	close(a[1]);
	close(b[0]);
	close(b[1]);
	waitpid(p, 0, 0);
}

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
	pthread_create(&t, 0, partner, &copy);
	while (n--)
		pass(0, 1);
	pthread_join(t, 0);
}

static void op_clock(long n)
{
	struct timespec t;
	while (n--)
		clock_gettime(CLOCK_MONOTONIC, &t);
}

static const struct {
	const char *name;
	void (*run)(long);
} ops[] = {
	{"getppid", op_getppid},
	{"clock_gettime", op_clock},
	{"read 4 KiB", op_read},
	{"open+close", op_open},
	{"stat", op_stat},
	{"stat, no such file", op_stat_missing},
	{"fork+exit+wait", op_fork},
	{"fork+exec+wait", op_exec},
	{"thread create+join", op_thread},
	{"mmap+munmap", op_mmap},
	{"page fault", op_fault},
	{"pipe ping-pong, 2 processes", op_pipe},
	{"futex ping-pong, 2 threads", op_futex},
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "exit") == 0)
		return 0;
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		int wanted = argc == 1;
		for (int j = 1; j < argc; j++)
			wanted |= strcmp(argv[j], ops[i].name) == 0;
		if (!wanted)
			continue;
		/* Warm up, then as many as take about 60 ms. */
		long n = ops[i].run == op_fault ? 4096 : 1;
		double took;
		for (;;) {
			double start = now();
			ops[i].run(n);
			took = now() - start;
			if (took > 60e6 || n > 1L << 30)
				break;
			n = took < 3e6 ? n * 8 : (long)(n * 80e6 / took) + 1;
			if (ops[i].run == op_fault)
				n = (n + 4095) / 4096 * 4096;
		}
		printf("%s\t%.1f\n", ops[i].name, took / n);
		fflush(stdout);
	}
	return 0;
}
