#include "cprogs.h"
#include <sys/ptrace.h>
#include <sys/signalfd.h>

/* The mask is changed often enough for its call sites to be hot. */

static volatile sig_atomic_t got[2], when_blocked;
static volatile int inside;

static void taken(int sig)
{
	got[sig == SIGRTMIN]++;
	if (inside)
		when_blocked++;
}

static sigset_t set_of(int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	return s;
}

static int blocked(int sig)
{
	sigset_t s;
	sigprocmask(SIG_SETMASK, 0, &s);
	return sigismember(&s, sig);
}

static void warm(void)
{
	sigset_t s = set_of(SIGUSR2), old;
	for (int i = 0; i < 48; i++) {
		pthread_sigmask(SIG_BLOCK, &s, &old);
		pthread_sigmask(SIG_SETMASK, &old, 0);
	}
}

static void *sender(void *arg)
{
	for (int i = 0; i < 2000; i++)
		while (syscall(SYS_tgkill, getpid(), *(int *)arg, SIGRTMIN) == -1)
			;
	return 0;
}

static void race(void)
{
	struct sigaction sa = {.sa_handler = taken, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &sa, 0);
	sigaction(SIGRTMIN, &sa, 0);
	sigset_t s = set_of(SIGUSR1);
	sigaddset(&s, SIGRTMIN);
	int me = gettid(), parent = getpid();
	pthread_t t;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_create(&t, 0, sender, &me);
	pthread_sigmask(SIG_SETMASK, &old, 0);
	pid_t p = fork();
	if (p == 0) {
		for (int i = 0; i < 500; i++)
			kill(parent, SIGUSR1);
		_exit(0);
	}
	long start = now();
	while ((got[1] < 2000 || got[0] == 0) && now() - start < 10000) {
		pthread_sigmask(SIG_BLOCK, &s, 0);
		inside = 1;
		for (volatile int i = 0; i < 50; i++)
			;
		inside = 0;
		pthread_sigmask(SIG_UNBLOCK, &s, 0);
	}
	say("real-time %d standard %d while blocked %d", (int)got[1], got[0] > 0, (int)when_blocked);
	waitpid(p, 0, 0);
	pthread_join(t, 0);
}

static void show_blk(const char *what)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "SigBlk", 6) == 0)
			say("%s %.22s", what, line + 8);
	fclose(f);
}

static void *shows_thread(void *arg)
{
	(void)arg;
	warm();
	say("thread has USR1 %d HUP %d", blocked(SIGUSR1), blocked(SIGHUP));
	return 0;
}

static void kept(void)
{
	warm();
	sigset_t s = set_of(SIGUSR1), old;
	pthread_sigmask(SIG_BLOCK, &s, 0);
	show_blk("status");
	int ws;
	if (fork() == 0) {
		warm();
		_exit(blocked(SIGUSR1) + 2 * blocked(SIGUSR2));
	}
	wait(&ws);
	status("fork", ws);
	pid_t v = vfork();
	if (v == 0) {
		s = set_of(SIGHUP);
		for (int i = 0; i < 8; i++)
			sigprocmask(SIG_BLOCK, &s, 0);
		_exit(blocked(SIGHUP));
	}
	wait(&ws);
	status("vfork", ws);
	say("not the parent's %d", blocked(SIGHUP));
	pthread_t t;
	pthread_create(&t, 0, shows_thread, 0);
	pthread_join(t, 0);
	system("grep SigBlk /proc/self/status");
	s = set_of(SIGUSR1);
	if (fork() == 0) {
		warm();
		execl("/bin/grep", "grep", "SigBlk", "/proc/self/status", (char *)0);
		_exit(9);
	}
	wait(&ws);
	status("exec", ws);
	/* A handler's mask, and what it returns to. */
	struct sigaction sa = {.sa_handler = taken};
	sigaction(SIGUSR1, &sa, 0);
	raise(SIGUSR1);
	say("pending %d", (int)got[0]);
	sigset_t none;
	sigemptyset(&none);
	err("sigsuspend", sigsuspend(&none));
	say("got %d, blocked again %d", (int)got[0], blocked(SIGUSR1));
	raise(SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &none, &old);
	say("got %d at once, was blocked %d", (int)got[0], sigismember(&old, SIGUSR1));
	pthread_sigmask(SIG_BLOCK, &s, 0);
	int fd = signalfd(-1, &s, 0);
	raise(SIGUSR1);
	struct signalfd_siginfo si;
	say("signalfd %ld signo %d", (long)read(fd, &si, sizeof si), si.ssi_signo);
	pthread_sigmask(SIG_UNBLOCK, &s, 0);
	say("taken by it %d", (int)got[0]);
	/* In place. */
	s = set_of(SIGALRM);
	for (int i = 0; i < 8; i++)
		pthread_sigmask(SIG_SETMASK, &s, &s);
	say("in place %d %d", sigismember(&s, SIGALRM), blocked(SIGALRM));
	for (int i = 0; i < 8; i++)
		err("bad set", syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, 0, 8));
	for (int i = 0; i < 8; i++)
		err("bad old", syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, 8, 8));
	for (int i = 0; i < 8; i++)
		err("query, no size", syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, 0, 9));
}

static void traced(void)
{
	int ready[2];
	if (pipe(ready) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		warm();
		sigset_t s = set_of(SIGUSR1);
		pthread_sigmask(SIG_BLOCK, &s, 0);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (int i = 0; i < 5000 && !blocked(SIGUSR2); i++)
			msleep(1);
		_exit(blocked(SIGUSR1) + 2 * blocked(SIGUSR2));
	}
	char c;
	if (read(ready[0], &c, 1) != 1)
		_exit(1);
	int ws;
	err("attach", ptrace(PTRACE_ATTACH, p, 0, 0));
	waitpid(p, &ws, 0);
	uint64_t mask = 0;
	err("get", ptrace(PTRACE_GETSIGMASK, p, 8, &mask));
	say("mask %#lx", (long)mask);
	mask = 1 << (SIGUSR2 - 1);
	err("set", ptrace(PTRACE_SETSIGMASK, p, 8, &mask));
	err("detach", ptrace(PTRACE_DETACH, p, 0, 0));
	waitpid(p, &ws, 0);
	status("tracee", ws);
}

const struct row sigmask_rows[] = {
	{"sigmask.race", race},
	{"sigmask.kept", kept},
	{"sigmask.traced", traced},
	{0, 0},
};
