/*
 * Micro times single operations and prints, for each, its name and nanoseconds
 * for one. The driver (test/bench) runs it natively, in the sandbox and under
 * runc by turns. It is linked statically, so that it is the same program
 * everywhere, and calls by glibc's own wrappers, whose call sites are those
 * that programs have.
 *
 *	micro                      all of them
 *	micro NAME...              some
 *	micro -for SECONDS NAME    one, again and again, for a profiler
 *	micro spawn N COMMAND...   how long a command takes: see spawn.c
 *	micro net ...              one end of a connection: see net.c
 */
#define _GNU_SOURCE
#include "micro.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(1);
}

const char *beside(const char *name)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	if (n < 0)
		die("readlink /proc/self/exe");
	path[n] = 0;
	char *slash = strrchr(path, '/');
	if (slash == 0 || slash + 1 + strlen(name) >= path + sizeof path)
		die("no directory");
	strcpy(slash + 1, name);
	return path;
}

/* Time warms an operation up and then does as many as take about 60 ms. */
static void time_op(const struct op *o)
{
	long least = o->atleast ? o->atleast : 1, n = least;
	for (;;) {
		double start = now();
		o->run(n);
		double took = now() - start;
		if (took > 60e6 || n > 1L << 30) {
			printf("%s\t%.1f\n", o->name, took / n);
			fflush(stdout);
			return;
		}
		n = took < 3e6 ? n * 8 : (long)(n * 80e6 / took) + 1;
		n = (n + least - 1) / least * least;
	}
}

static void loop_op(const struct op *o, double seconds)
{
	for (double end = now() + seconds * 1e9; now() < end;)
		o->run(o->atleast ? o->atleast : 100);
}

static const struct op *const families[] = {calls, memory, processes, handoffs};

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "spawn") == 0)
		return spawn(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], "net") == 0)
		return net(argc - 2, argv + 2);
	double seconds = 0;
	if (argc > 3 && strcmp(argv[1], "-for") == 0) {
		seconds = atof(argv[2]);
		argc -= 2, argv += 2;
	}
	int found = argc == 1;
	for (size_t f = 0; f < sizeof families / sizeof *families; f++)
		for (const struct op *o = families[f]; o->name; o++) {
			int wanted = argc == 1;
			for (int j = 1; j < argc; j++)
				wanted |= strcmp(argv[j], o->name) == 0;
			found |= wanted;
			if (wanted && seconds > 0)
				loop_op(o, seconds);
			else if (wanted)
				time_op(o);
		}
	if (!found) {
		fprintf(stderr, "micro: no operation of that name\n");
		return 1;
	}
	return 0;
}
