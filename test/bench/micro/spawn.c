/*
 * micro spawn N COMMAND ARG...
 *
 * runs a command once to warm up and N times more, N > 0, and prints the
 * middle time in milliseconds; with N = 0, the first and only time. The command's own
 * output is thrown away, unless it fails. It times work inside an environment
 * that has started already.
 */
#define _GNU_SOURCE
#include "micro.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static double once(char **argv)
{
	int out = memfd_create("output", MFD_CLOEXEC);
	if (out < 0)
		die("memfd_create");
	double start = now();
	pid_t p = fork();
	if (p < 0)
		die("fork");
	if (p == 0) {
		dup2(out, 1);
		dup2(out, 2);
		execvp(argv[0], argv);
		die(argv[0]);
	}
	int ws;
	if (waitpid(p, &ws, 0) != p)
		die("waitpid");
	double took = now() - start;
	if (ws != 0) {
		char text[400];
		off_t size = lseek(out, 0, SEEK_END);
		ssize_t n = pread(out, text, sizeof text, size > (off_t)sizeof text ? size - (off_t)sizeof text : 0);
		fprintf(stderr, "%s: wait status %#x: %.*s\n", argv[0], ws, n > 0 ? (int)n : 0, text);
		exit(1);
	}
	close(out);
	return took;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int spawn(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[0]) : -1;
	double took[64];
	if (n < 0 || n > 64) {
		fprintf(stderr, "usage: micro spawn N COMMAND ARG...\n");
		return 1;
	}
	took[0] = once(argv + 1);
	for (int i = 0; i < n; i++)
		took[i] = once(argv + 1);
	qsort(took, n ? n : 1, sizeof *took, ascending);
	printf("%.3f\n", took[n / 2] / 1e6);
	return 0;
}
