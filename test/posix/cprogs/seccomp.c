#include "cprogs.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static long seccomp(unsigned op, unsigned flags, void *args) { return syscall(SYS_seccomp, op, flags, args); }

/* with has call nr end with an action, and all others be allowed. */
static long with(unsigned flags, int nr, unsigned action)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof f / sizeof f[0], f};
	return seccomp(SECCOMP_SET_MODE_FILTER, flags, &p);
}

static long refuse(int nr, unsigned action) { return with(0, nr, action); }

static void no_new_privs(void) { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

static int in_child(void (*f)(void))
{
	int ws = 0;
	pid_t p = fork();
	if (p == 0) {
		f();
		_exit(0);
	}
	waitpid(p, &ws, 0);
	return ws;
}

static void mode(const char *when)
{
	char text[4096] = "", *p;
	int fd = open("/proc/thread-self/status", O_RDONLY);
	if (read(fd, text, sizeof text - 1) > 0 && (p = strstr(text, "Seccomp:")))
		say("%s: %.*s, %.*s", when, (int)strcspn(p, "\n"), p, (int)strcspn(strchr(p, '\n') + 1, "\n"), strchr(p, '\n') + 1);
	close(fd);
	say("get %d", prctl(PR_GET_SECCOMP));
}

static void setting(void)
{
	mode("at first");
	struct sock_filter ok[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}, bad[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), ok[0]};
	struct sock_fprog p = {1, ok};
	err("strict with flags", seccomp(SECCOMP_SET_MODE_STRICT, 1, 0));
	err("no address", seccomp(SECCOMP_SET_MODE_FILTER, 0, (void *)8));
	err("flags", seccomp(SECCOMP_SET_MODE_FILTER, 1 << 20, &p));
	err("operation", seccomp(99, 0, &p));
	p.len = 0;
	err("empty", seccomp(SECCOMP_SET_MODE_FILTER, 0, &p));
	p.len = 5000;
	err("long", seccomp(SECCOMP_SET_MODE_FILTER, 0, &p));
	p = (struct sock_fprog){2, bad};
	err("bad", seccomp(SECCOMP_SET_MODE_FILTER, 0, &p));
	p = (struct sock_fprog){1, (void *)8};
	err("no program", seccomp(SECCOMP_SET_MODE_FILTER, 0, &p));
	p = (struct sock_fprog){1, ok};
	unsigned actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO, SECCOMP_RET_LOG, 0x12340000};
	for (int i = 0; i < 4; i++)
		err("action", seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]));
	err("set", seccomp(SECCOMP_SET_MODE_FILTER, 0, &p));
	err("by prctl", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p, 0, 0));
	mode("then");
	err("strict after a filter", seccomp(SECCOMP_SET_MODE_STRICT, 0, 0));
	if (fork() == 0) {
		mode("a child");
		_exit(0);
	}
	wait(0);
}

static void unprivileged(void)
{
	setuid(1000);
	err("without no_new_privs", refuse(SYS_getpgrp, SECCOMP_RET_ERRNO));
	no_new_privs();
	err("with it", refuse(SYS_getpgrp, SECCOMP_RET_ERRNO | EXDEV));
	err("refused", syscall(SYS_getpgrp));
}

static void errnos(void)
{
	for (int i = 0; i < 100; i++) /* until the quickest way is taken */
		if (syscall(SYS_getpid) != getpid() || syscall(SYS_getppid) == 0)
			return;
	refuse(SYS_getpid, SECCOMP_RET_ERRNO | ESRCH);
	err("what is answered nearby", syscall(SYS_getpid));
	refuse(SYS_getuid, SECCOMP_RET_ERRNO | EPERM);
	errno = 0;
	err("twice", syscall(SYS_getuid));
	refuse(SYS_getpid, SECCOMP_RET_ERRNO | EDOM);
	err("the newer wins", syscall(SYS_getpid));
	refuse(SYS_getppid, SECCOMP_RET_ERRNO);
	say("errno 0: %ld", syscall(SYS_getppid));
	refuse(SYS_rt_sigprocmask, SECCOMP_RET_ERRNO | EIO);
	sigset_t s;
	err("mask", syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &s, 8));
	refuse(SYS_clock_getres, SECCOMP_RET_ERRNO | 9999);
	syscall(SYS_clock_getres, 0, 0);
	say("highest errno %d", errno);
	refuse(SYS_getpriority, SECCOMP_RET_ERRNO | 512);
	syscall(SYS_getpriority, 0, 0);
	say("one by which the kernel has a call made again: %d", errno);
	if (fork() == 0) {
		err("a child's", syscall(SYS_getpid));
		char *argv[] = {"/bin/sh", "-c", "echo $(($$ > 0))", 0};
		execv(argv[0], argv);
	}
	int ws;
	wait(&ws);
	status("and its program", ws);
	refuse(SYS_openat, SECCOMP_RET_LOG);
	err("logged", open("/", O_RDONLY));
}

static void kill_process(void)
{
	refuse(SYS_getpgrp, SECCOMP_RET_KILL_PROCESS);
	syscall(SYS_getpgrp);
	say("survived");
}

static void kill_thread(void)
{
	refuse(SYS_getpgrp, SECCOMP_RET_KILL_THREAD);
	syscall(SYS_getpgrp);
	say("survived");
}

static void *call_getpgrp(void *arg)
{
	if (arg)
		refuse(SYS_getpgrp, SECCOMP_RET_KILL_THREAD);
	say("getpgrp in a thread: %d", syscall(SYS_getpgrp) > 0);
	return 0;
}

static void kill_one(void)
{
	pthread_t t;
	pthread_create(&t, 0, call_getpgrp, &t);
	for (int i = 0; i < 500; i++) {
		char name[64];
		snprintf(name, sizeof name, "/proc/self/status");
		msleep(1);
		char text[4096] = "";
		int fd = open(name, O_RDONLY);
		if (read(fd, text, sizeof text - 1) > 0 && strstr(text, "Threads:\t1"))
			break;
		close(fd);
	}
	say("the other thread goes on");
}

static void strict(void)
{
	err("strict", seccomp(SECCOMP_SET_MODE_STRICT, 0, 0));
	if (write(1, "can write\n", 10) != 10)
		return;
	syscall(SYS_getpid);
	write(1, "survived\n", 9);
}

static void strict_exit(void)
{
	seccomp(SECCOMP_SET_MODE_STRICT, 0, 0);
	syscall(SYS_exit, 7);
}

static void kills(void)
{
	status("kill process", in_child(kill_process));
	status("kill thread, the only one", in_child(kill_thread));
	status("kill one of two", in_child(kill_one));
	status("strict", in_child(strict));
	status("strict, and exit", in_child(strict_exit));
}

static volatile siginfo_t seen;
static volatile long where, rax;

static void on_sys(int sig, siginfo_t *i, void *u)
{
	(void)sig;
	greg_t *r = ((ucontext_t *)u)->uc_mcontext.gregs;
	*(siginfo_t *)&seen = *i;
	where = r[REG_RIP], rax = r[REG_RAX];
	r[REG_RAX] = 4711;
}

static void traps(void)
{
	struct sigaction sa = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
	sigaction(SIGSYS, &sa, 0);
	refuse(SYS_getpgrp, SECCOMP_RET_TRAP | 12);
	for (int i = 0; i < 10; i++) {
		long r = syscall(SYS_getpgrp);
		if (i % 9 == 0)
			say("got %ld, signal %d code %d errno %d call %d arch %#x there %d rax %ld", r, seen.si_signo, seen.si_code, seen.si_errno,
			    seen.si_syscall == SYS_getpgrp, seen.si_arch, (long)seen.si_call_addr == where, rax);
	}
	signal(SIGSYS, SIG_IGN);
	int ws;
	if (fork() == 0) {
		syscall(SYS_getpgrp);
		say("ignored");
		_exit(0);
	}
	wait(&ws);
	status("ignored", ws);
	refuse(SYS_getsid, SECCOMP_RET_TRACE | 3);
	err("without a tracer", syscall(SYS_getsid, 0));
}

static _Atomic int stage;

static void *waiter(void *arg)
{
	while (stage == 0)
		sched_yield();
	err("in another thread", syscall(SYS_getpgrp));
	err("and pid", syscall(SYS_getpid));
	return arg;
}

static void *with_own(void *arg)
{
	refuse(SYS_getpgid, SECCOMP_RET_ERRNO | EXDEV);
	stage = 1;
	while (stage == 1)
		msleep(1);
	return arg;
}

static void threads(void)
{
	pthread_t t;
	pthread_create(&t, 0, waiter, 0);
	err("for all", with(SECCOMP_FILTER_FLAG_TSYNC, SYS_getpgrp, SECCOMP_RET_ERRNO | EXDEV));
	err("for all", with(SECCOMP_FILTER_FLAG_TSYNC, SYS_getpid, SECCOMP_RET_ERRNO | EDOM));
	stage = 1;
	pthread_join(t, 0);
	stage = 0;
	pthread_create(&t, 0, with_own, 0);
	while (stage == 0)
		msleep(1);
	say("one of its own way %d", with(SECCOMP_FILTER_FLAG_TSYNC, SYS_getpgrp, SECCOMP_RET_ALLOW) > 1);
	err("as an error", with(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, SYS_getpgrp, SECCOMP_RET_ALLOW));
	stage = 2;
	pthread_join(t, 0);
}

static void traced(void)
{
	int ws;
	pid_t p = fork();
	if (p == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		refuse(SYS_getpgrp, SECCOMP_RET_TRACE | 77);
		say("changed to getppid: %d", syscall(SYS_getpgrp) == getppid());
		err("refused", syscall(SYS_getpgrp));
		say("let go %d", syscall(SYS_getpgrp) == getpgid(0));
		_exit(0);
	}
	waitpid(p, &ws, 0);
	err("options", ptrace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACESECCOMP));
	ptrace(PTRACE_CONT, p, 0, 0);
	for (int i = 0; waitpid(p, &ws, 0) == p && WIFSTOPPED(ws); i++) {
		unsigned long data = 0;
		struct user_regs_struct r;
		ptrace(PTRACE_GETEVENTMSG, p, 0, &data);
		ptrace(PTRACE_GETREGS, p, 0, &r);
		say("stop %#x data %lu call %d rax %ld", ws >> 8, data, r.orig_rax == SYS_getpgrp, (long)r.rax);
		if (i == 0)
			r.orig_rax = SYS_getppid;
		if (i == 1)
			r.orig_rax = -1, r.rax = -EXDEV;
		if (i < 2)
			ptrace(PTRACE_SETREGS, p, 0, &r);
		ptrace(PTRACE_CONT, p, 0, 0);
	}
	status("child", ws);
}

const struct row seccomp_rows[] = {
	{"seccomp.setting", setting}, {"seccomp.unprivileged", unprivileged}, {"seccomp.errno", errnos}, {"seccomp.kill", kills},
	{"seccomp.trap", traps}, {"seccomp.threads", threads}, {"seccomp.traced", traced}, {0, 0},
};
