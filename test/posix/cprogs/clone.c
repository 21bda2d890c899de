#include "cprogs.h"
#include <linux/sched.h>

static char stack[65536] __attribute__((aligned(16)));
static volatile sig_atomic_t got;
static void taken(int sig) { got = sig; }

static struct sigaction action(int sig)
{
	struct sigaction sa;
	sigaction(sig, 0, &sa);
	return sa;
}

static void set(int sig, void (*h)(int))
{
	struct sigaction sa = {.sa_handler = h};
	sigaction(sig, &sa, 0);
}

static int wait_for(pid_t p)
{
	int ws = -1;
	while (waitpid(p, &ws, __WALL) == -1 && errno == EINTR)
		;
	return ws;
}

static int changes(void *arg)
{
	(void)arg;
	set(SIGUSR1, taken);
	set(SIGUSR2, SIG_IGN);
	return action(SIGHUP).sa_handler == SIG_IGN ? 3 : 4;
}

static int resets(void *arg)
{
	(void)arg;
	struct sigaction sa = {.sa_handler = taken, .sa_flags = SA_RESETHAND};
	sigaction(SIGUSR1, &sa, 0);
	syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), SIGUSR1);
	return got;
}

static int execs(void *arg)
{
	(void)arg;
	execl("/bin/true", "true", (char *)0);
	return 9;
}

static void handlers(void)
{
	set(SIGHUP, SIG_IGN);
	pid_t p = clone(changes, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, 0);
	status("shares handlers", wait_for(p));
	say("USR1 %d USR2 %d", action(SIGUSR1).sa_handler == taken, action(SIGUSR2).sa_handler == SIG_IGN);
	p = clone(resets, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | CLONE_FS | CLONE_FILES | SIGCHLD, 0);
	status("resets one", wait_for(p));
	say("USR1 default %d, got %d", action(SIGUSR1).sa_handler == SIG_DFL, (int)got);
	set(SIGUSR1, taken);
	p = clone(execs, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, 0);
	status("execs", wait_for(p));
	say("USR1 kept %d", action(SIGUSR1).sa_handler == taken);
	set(SIGUSR1, SIG_DFL);
	p = clone(changes, stack + sizeof stack, CLONE_VM | SIGCHLD, 0);
	status("shares memory only", wait_for(p));
	say("USR1 default %d", action(SIGUSR1).sa_handler == SIG_DFL);
	err("without memory", clone(changes, stack + sizeof stack, CLONE_SIGHAND | SIGCHLD, 0));
	err("thread without handlers", clone(changes, stack + sizeof stack, CLONE_THREAD | CLONE_VM, 0));
}

static int moves(void *arg)
{
	if (chdir("/") != 0)
		return 1;
	umask(0123);
	close(*(int *)arg);
	return dup(1) == *(int *)arg ? 5 : 6;
}

static void sharing(void)
{
	char cwd[4096];
	for (int i = 0; i < 4; i++) {
		int flags = (i & 1 ? CLONE_FS : 0) | (i & 2 ? CLONE_FILES : 0);
		if (chdir("/tmp") != 0)
			_exit(1);
		umask(022);
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		pid_t p = clone(moves, stack + sizeof stack, flags | SIGCHLD, &fd);
		status("moves", wait_for(p));
		say("%d: cwd %s umask %o descriptor %d", i, getcwd(cwd, sizeof cwd), umask(022), fcntl(fd, F_GETFD));
		close(fd);
	}
}

static long clone3(struct clone_args *a, size_t n)
{
	return syscall(SYS_clone3, a, n);
}

static void three(void)
{
	set(SIGUSR1, taken);
	set(SIGUSR2, SIG_IGN);
	struct clone_args a = {.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
	long p = clone3(&a, sizeof a);
	if (p == 0)
		_exit(action(SIGUSR1).sa_handler == SIG_DFL ? action(SIGUSR2).sa_handler == SIG_IGN ? 2 : 1 : 0);
	status("cleared", wait_for(p));
	a.flags = CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM;
	err("cleared and shared", clone3(&a, sizeof a));
	int fd = -1;
	a = (struct clone_args){.flags = CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = (uintptr_t)&fd};
	if ((p = clone3(&a, sizeof a)) == 0)
		_exit(4);
	say("descriptor %d close-on-exec %d", fd >= 0, fcntl(fd, F_GETFD));
	siginfo_t si;
	err("waitid", waitid(P_PIDFD, fd, &si, WEXITED));
	say("status %d", si.si_status);
	a.flags = CLONE_PIDFD | CLONE_PARENT_SETTID;
	a.parent_tid = a.pidfd;
	if ((p = clone3(&a, sizeof a)) == 0)
		_exit(0);
	err("one place for both", p);
	if (p > 0)
		wait_for(p);
	a = (struct clone_args){.flags = CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = 8};
	if ((p = clone3(&a, sizeof a)) == 0)
		_exit(0);
	err("bad address", p);
	a = (struct clone_args){.flags = CLONE_PIDFD | CLONE_DETACHED, .exit_signal = SIGCHLD, .pidfd = (uintptr_t)&fd};
	err("detached", clone3(&a, sizeof a));
	a = (struct clone_args){.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = 1000};
	err("cgroup, no descriptor", clone3(&a, sizeof a));
	int f = open("/dev/null", O_RDONLY);
	a.cgroup = f;
	err("cgroup, no cgroup", clone3(&a, sizeof a));
	a = (struct clone_args){.flags = CLONE_PARENT, .exit_signal = SIGCHLD};
	err("parent with a signal", clone3(&a, sizeof a));
	a = (struct clone_args){.exit_signal = 65};
	err("bad signal", clone3(&a, sizeof a));
	a = (struct clone_args){.exit_signal = SIGCHLD, .stack = 1};
	err("stack without size", clone3(&a, sizeof a));
	a = (struct clone_args){.flags = 0x80, .exit_signal = SIGCHLD, .set_tid_size = 40};
	err("tids", clone3(&a, sizeof a));
	a = (struct clone_args){.flags = 1ull << 40, .exit_signal = SIGCHLD};
	err("unknown", clone3(&a, sizeof a));
	err("small", clone3(&a, 32));
}

static void parent(void)
{
	int ws;
	pid_t mid = fork();
	if (mid == 0) {
		long p = syscall(SYS_clone, CLONE_PARENT | SIGUSR1, 0, 0, 0, 0);
		if (p == 0) {
			msleep(20);
			_exit(7);
		}
		say("not my child: %s", waitpid(p, &ws, __WALL) == -1 ? strerrorname_np(errno) : "ok");
		_exit(1);
	}
	int sum = 0;
	for (int i = 0; i < 2; i++)
		if (wait(&ws) > 0)
			sum += WEXITSTATUS(ws);
	say("both are mine: %d", sum);
}

static void *returns(void *arg)
{
	return arg;
}

static void *makes_threads(void *arg)
{
	pthread_t t;
	for (;;)
		if (pthread_create(&t, 0, returns, arg) == 0)
			pthread_join(t, 0);
}

static void *executes(void *arg)
{
	usleep((long)arg);
	execl("/proc/self/exe", "cprogs", "+exit", "31", (char *)0);
	_exit(98);
}

/* Threads make others, and two of them execute a program: of all these only one is left,
 * whoever was just being made. */
static void while_executing(void)
{
	int as_it_should = 0;
	for (long i = 0; i < 60; i++) {
		pid_t p = fork();
		if (p == 0) {
			pthread_t t;
			for (int n = 0; n < 2; n++) {
				pthread_create(&t, 0, makes_threads, 0);
				pthread_create(&t, 0, executes, (void *)(i * 29 % 700));
			}
			makes_threads(0);
		}
		int ws = 0;
		waitpid(p, &ws, 0);
		as_it_should += WIFEXITED(ws) && WEXITSTATUS(ws) == 31;
	}
	say("ended as the program does: %d of 60", as_it_should);
}

const struct row clone_rows[] = {
	{"clone.handlers", handlers},
	{"clone.sharing", sharing},
	{"clone.clone3", three},
	{"clone.parent", parent},
	{"clone.execute", while_executing},
	{0, 0},
};
