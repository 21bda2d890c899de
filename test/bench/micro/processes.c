/* Processes, threads, signals. */
#define _GNU_SOURCE
#include "micro.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Forked is fork that does not fail, with no output of ours in the child. */
static pid_t forked(void)
{
	pid_t p = fork();
	if (p < 0)
		die("fork");
	return p;
}

static void ended(pid_t p)
{
	int ws;
	if (waitpid(p, &ws, 0) != p || ws != 0)
		die("waitpid");
}

static void op_fork(long n)
{
	while (n--) {
		pid_t p = forked();
		if (p == 0)
			_exit(0);
		ended(p);
	}
}

static void run(const char *program, long n)
{
	while (n--) {
		pid_t p = forked();
		if (p == 0) {
			execl(program, program, (char *)0);
			die(program);
		}
		ended(p);
	}
}

static void op_exec_static(long n)
{
	run(beside("exits-static"), n);
}

static void op_exec_dynamic(long n)
{
	run(beside("exits-dynamic"), n);
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
			die("pthread_create");
		pthread_join(t, 0);
	}
}

static volatile sig_atomic_t caught;

static void count(int sig)
{
	(void)sig;
	caught++;
}

static void op_signal(long n)
{
	struct sigaction old, sa = {.sa_handler = count};
	if (sigaction(SIGUSR1, &sa, &old) < 0)
		die("sigaction");
	pid_t self = getpid();
	for (caught = 0; n--;) {
		int before = caught;
		if (kill(self, SIGUSR1) < 0 || caught == before)
			die("kill");
	}
	sigaction(SIGUSR1, &old, 0);
}

/* Four processes at once make n calls each: what one call takes, as each of
 * them sees it, when guests outnumber processors. */
static void op_busy(long n)
{
	pid_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = forked();
		if (p[i] == 0) {
			while (n--)
				getpgid(0);
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++)
		ended(p[i]);
}

const struct op processes[] = {
	{"fork+exit+wait", op_fork, 0},
	{"fork+exec+wait, static", op_exec_static, 0},
	{"fork+exec+wait, dynamic", op_exec_dynamic, 0},
	{"pthread_create+join", op_thread, 0},
	{"signal to self", op_signal, 0},
	{"getpgid, four busy guests", op_busy, 64},
	{0},
};
