#include "cprogs.h"
#include <dirent.h>
#include <linux/futex.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Of a namespace's own numbers all may be printed: they begin with 1. */

static pid_t spawn(unsigned long flags) { return syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0); }

static int await(pid_t p)
{
	int ws = -1;
	while (waitpid(p, &ws, 0) < 0 && errno == EINTR)
		;
	return ws;
}

/* inside runs f as the first process of a namespace. */
static void inside(void (*f)(void))
{
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0) {
		f();
		_exit(0);
	}
	if (p < 0)
		err("clone", p);
	int ws = await(p);
	if (ws)
		status("inside", ws);
}

static void numbers(void)
{
	for (int i = 0; i < 40; i++) { /* until the quickest way is taken */
		pid_t p = getpid(), pp = getppid();
		long t = syscall(SYS_gettid);
		if (i % 39 == 0)
			say("pid %d tid %ld ppid %d", p, t, pp);
	}
	say("group %d session %d", getpgrp(), getsid(0));
	say("of 1: %d %d", getpgid(1), getsid(1));
	pid_t c = fork();
	if (c == 0) {
		for (int i = 0; i < 40; i++)
			if (i % 39 == 0 || getpid() != 2 || getppid() != 1)
				say("child: pid %d ppid %d", getpid(), getppid());
		pid_t in = spawn(CLONE_NEWPID);
		if (in == 0) {
			say("below: pid %d ppid %d", getpid(), getppid());
			_exit(4);
		}
		int ws = await(in);
		say("which is %d", in); /* only now: it says something itself */
		status("below", ws);
		_exit(0);
	}
	siginfo_t si = {0};
	err("waitid", waitid(P_PID, 2, &si, WEXITED));
	say("forked %d", c);
	say("si_pid %d", si.si_pid);
	err("wait for what is not there", waitpid(77, 0, 0));
	err("kill what is not there", kill(77, 0));
	err("outside", kill(getppid() + 300000, 0));
	err("setsid", setsid() < 0 ? -1 : 0);
	say("group %d session %d", getpgrp(), getsid(0));
}

static void first(void) { inside(numbers); }

static void *nothing(void *p) { return p; }

static void later(void)
{
	char to[64];
	pid_t before = getpid();
	err("unshare", unshare(CLONE_NEWPID));
	say("still %d", getpid() == before);
	err("link before there is one", readlink("/proc/self/ns/pid_for_children", to, sizeof to) < 0 ? -1 : 0);
	pthread_t th;
	say("a thread: %d", pthread_create(&th, 0, nothing, 0));
	err("again", unshare(CLONE_NEWPID));
	err("clone", spawn(CLONE_NEWPID));
	int fd[2], said[2];
	char c;
	pipe(fd);
	pipe(said);
	pid_t one = fork();
	if (one == 0) {
		close(fd[1]);
		say("first %d of %d", getpid(), getppid());
		write(said[1], "x", 1);
		read(fd[0], &c, 1);
		_exit(7);
	}
	read(said[0], &c, 1);
	pid_t two = fork();
	if (two == 0) {
		say("second %d of %d", getpid(), getppid());
		_exit(0);
	}
	status("second", await(two));
	err("link", readlink("/proc/self/ns/pid_for_children", to, sizeof to) < 0 ? -1 : 0);
	close(fd[1]);
	status("first", await(one));
	err("fork after its end", fork());
	err("clone3 after its end", syscall(SYS_clone3, &(struct clone_args){.exit_signal = SIGCHLD}, sizeof(struct clone_args)));
}

static int held[2];

static void hold_on(void)
{
	char c;
	close(held[1]);
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0)
		if (fork() == 0)
			setsid();
	if (fork() == 0)
		_exit(0); /* nobody waits for it */
	if (getpid() == 1 && getppid() == 0 && p > 0) {
		signal(SIGCHLD, SIG_IGN);
		msleep(50);
		_exit(9);
	}
	read(held[0], &c, 1);
	pause();
}

/* The end of a first process ends all below, before anybody is told of it. */
static void end(void)
{
	int fd[2];
	pipe(fd);
	pipe(held);
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0) {
		close(fd[0]);
		hold_on();
	}
	close(fd[1]);
	status("first", await(p));
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	char c;
	err("all have gone", read(fd[0], &c, 1));
}

static void orphanage(void)
{
	int fd[2], n = 0;
	pipe(fd);
	if (fork() == 0) {
		if (fork() == 0) {
			for (int i = 0; getppid() != 1 && i < 1000; i++)
				msleep(10);
			say("now of %d", getppid());
			write(fd[1], "x", 1);
			_exit(3);
		}
		_exit(2);
	}
	for (int ws; wait(&ws) > 0;)
		n += WEXITSTATUS(ws);
	say("waited for all: %d", n);
	pid_t p = fork();
	if (p == 0) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (fork() == 0) {
			pid_t outer = getpid();
			if (fork() == 0) {
				for (int i = 0; getppid() == outer && i < 1000; i++)
					msleep(10);
				say("a subreaper's: %d", getppid());
				_exit(0);
			}
			_exit(0);
		}
		while (wait(0) > 0)
			;
		_exit(0);
	}
	status("subreaper", await(p));
	say("subreaper %d", p);
}

/* An orphan of a namespace whose first process has ended before is not to be had; one
   whose parent is outside has none that it sees. */
static void orphans(void) { inside(orphanage); }

static volatile int got, from = -1, code;

static void on_signal(int sig, siginfo_t *si, void *c)
{
	got = sig;
	from = si->si_pid;
	code = si->si_code;
}

static void catch(int sig)
{
	struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	sigaction(sig, &a, 0);
}

static void until(int sig)
{
	for (int i = 0; got != sig && i < 2000; i++)
		msleep(5);
	say("signal %d of %d, code %d", got, from, code);
	got = 0;
}

static void within(void)
{
	err("ends itself", kill(1, SIGKILL));
	err("terminates itself", kill(1, SIGTERM));
	raise(SIGINT);
	sigset_t s, old;
	sigemptyset(&s);
	sigaddset(&s, SIGQUIT);
	sigprocmask(SIG_BLOCK, &s, &old);
	raise(SIGQUIT);
	sigpending(&s);
	say("pending %d", sigismember(&s, SIGQUIT));
	sigprocmask(SIG_SETMASK, &old, 0);
	catch(SIGUSR1);
	pid_t c = fork();
	if (c == 0) {
		kill(1, SIGKILL);
		kill(1, SIGSTOP);
		kill(1, SIGUSR1);
		_exit(0);
	}
	until(SIGUSR1);
	await(c);
	catch(SIGCHLD);
	if (fork() == 0)
		_exit(0);
	until(SIGCHLD);
	wait(0);
	raise(SIGUSR1);
	until(SIGUSR1);
	if (fork() == 0) {
		pid_t me = getpid();
		err("everybody else", kill(-1, SIGUSR1)); /* there is nobody */
		_exit(me != 4);
	}
	wait(0);
}

static void from_outside(void)
{
	int fd[2];
	char c;
	pipe(fd);
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0) {
		catch(SIGUSR1);
		catch(SIGUSR2);
		write(fd[1], "x", 1);
		until(SIGUSR1);
		write(fd[1], "x", 1);
		until(SIGUSR2);
		write(fd[1], "x", 1);
		until(SIGUSR2);
		write(fd[1], "x", 1);
		for (;;)
			pause();
	}
	read(fd[0], &c, 1);
	err("terminate", kill(p, SIGTERM));
	kill(p, SIGUSR1);
	read(fd[0], &c, 1);
	sigqueue(p, SIGUSR2, (union sigval){7});
	read(fd[0], &c, 1);
	syscall(SYS_tgkill, p, p, SIGUSR2);
	read(fd[0], &c, 1);
	kill(p, SIGSTOP);
	int ws;
	waitpid(p, &ws, WUNTRACED);
	status("stopped", ws);
	kill(p, SIGCONT);
	waitpid(p, &ws, WCONTINUED);
	status("continued", ws);
	kill(p, SIGKILL);
	status("ended", await(p));
	p = spawn(CLONE_NEWPID);
	if (p == 0) {
		*(volatile int *)8 = 1;
		_exit(0);
	}
	status("fault", await(p));
}

static void signals(void)
{
	inside(within);
	from_outside();
}

/* Whose parent dies is told, if it is the first process of a namespace too. */
static void parents_death(void)
{
	int fd[2];
	char c = 0;
	pipe(fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (fork() == 0) {
		if (spawn(CLONE_NEWPID) == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			write(fd[1], "x", 1);
			for (;;)
				pause();
		}
		read(fd[0], &c, 1);
		_exit(0);
	}
	int ws;
	wait(&ws);
	status("parent", ws);
	wait(&ws);
	status("child", ws);
}

static long clone3(int n, pid_t *wanted, unsigned long flags)
{
	struct clone_args a = {.flags = flags, .exit_signal = SIGCHLD, .set_tid = (unsigned long)wanted, .set_tid_size = n};
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (r == 0)
		_exit(getpid() & 0xff);
	return r;
}

static void chosen(void)
{
	err("two at first", clone3(1, (pid_t[]){2}, CLONE_NEWPID));
	err("zero", clone3(1, (pid_t[]){0}, 0));
	err("itself", clone3(1, (pid_t[]){1}, 0));
	err("more than there are", clone3(3, (pid_t[]){50, 60, 70}, 0) < 0 && errno == EINVAL ? -1 : 0);
	err("no address", clone3(1, 0, 0));
	long r = clone3(1, (pid_t[]){42}, 0);
	say("wanted 42, made %ld", r);
	status("its own", await(r));
	r = clone3(2, (pid_t[]){1, 77}, CLONE_NEWPID);
	say("wanted 1 and 77, made %ld", r);
	status("its own", await(r));
	r = fork();
	if (r == 0)
		_exit(0);
	say("next %ld", r);
	await(r);
	setresuid(1000, 1000, 1000);
	err("without power", clone3(1, (pid_t[]){99}, 0));
}

static void set_tid(void) { inside(chosen); }

static pid_t sender(int s)
{
	char b, control[128];
	struct iovec v = {&b, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	if (recvmsg(s, &m, 0) < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_type == SCM_CREDENTIALS)
			return ((struct ucred *)CMSG_DATA(c))->pid;
	return -2;
}

static long claim(int s, pid_t p)
{
	struct {
		struct cmsghdr h;
		struct ucred u;
	} c = {{CMSG_LEN(sizeof c.u), SOL_SOCKET, SCM_CREDENTIALS}, {p, getuid(), getgid()}};
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	return sendmsg(s, &m, 0);
}

static int pair[2], file, queue, set;

static void known_as(void)
{
	struct ucred u;
	socklen_t n = sizeof u;
	write(pair[1], "x", 1);
	err("claim itself", claim(pair[1], 1));
	err("claim nobody", claim(pair[1], 99));
	say("from outside: %d", sender(pair[1]));
	getsockopt(pair[1], SOL_SOCKET, SO_PEERCRED, &u, &n);
	say("peer %d", u.pid);
	struct flock l = {.l_type = F_WRLCK};
	fcntl(file, F_GETLK, &l);
	say("lock of outside's %d", l.l_pid);
	l = (struct flock){.l_type = F_WRLCK, .l_start = 10, .l_len = 1};
	err("lock", fcntl(file, F_SETLK, &l));
	if (fork() == 0) {
		l = (struct flock){.l_type = F_WRLCK, .l_start = 10, .l_len = 1};
		fcntl(file, F_GETLK, &l);
		say("lock of %d", l.l_pid);
		_exit(0);
	}
	wait(0);
	say("owner of outside's %d", fcntl(file, F_GETOWN));
	err("own", fcntl(pair[1], F_SETOWN, 1));
	say("owner %d", fcntl(pair[1], F_GETOWN));
	err("own nobody", fcntl(pair[1], F_SETOWN, 99));
	struct msqid_ds q;
	struct {
		long t;
		char c;
	} m = {1, 'x'};
	msgctl(queue, IPC_STAT, &q);
	say("sent by outside's %d", q.msg_lspid);
	msgsnd(queue, &m, 1, 0);
	msgctl(queue, IPC_STAT, &q);
	say("sent by %d", q.msg_lspid);
	say("semaphore of outside's %d", semctl(set, 0, GETPID));
	semctl(set, 0, SETVAL, 3);
	say("semaphore of %d", semctl(set, 0, GETPID));
	int fd = syscall(SYS_pidfd_open, 1, 0);
	err("pidfd", fd);
	err("of nobody", syscall(SYS_pidfd_open, 99, 0));
	err("capget", syscall(SYS_capget, (int[]){0x20080522, 1}, 0));
	say("priority %d", getpriority(PRIO_PROCESS, 1));
	err("of nobody", getpriority(PRIO_PROCESS, 99));
	struct rlimit r;
	err("prlimit", prlimit(1, RLIMIT_NOFILE, 0, &r));
	err("of nobody", prlimit(99, RLIMIT_NOFILE, 0, &r));
}

/* Who did something is told in the number of who asks, or 0. */
static void names(void)
{
	int on = 1;
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	write(pair[0], "x", 1);
	file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	fcntl(file, F_SETOWN, getpid());
	struct flock l = {.l_type = F_WRLCK, .l_len = 5};
	fcntl(file, F_SETLK, &l);
	queue = msgget(IPC_PRIVATE, 0600);
	struct {
		long t;
		char c;
	} m = {1, 'x'};
	msgsnd(queue, &m, 1, 0);
	set = semget(IPC_PRIVATE, 1, 0600);
	semctl(set, 0, SETVAL, 1);
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0) {
		known_as();
		_exit(0);
	}
	status("inside", await(p));
	say("sender %d", sender(pair[0]) == p);
	say("claimed %d", sender(pair[0]) == p);
	struct msqid_ds q;
	msgctl(queue, IPC_STAT, &q);
	say("reaped sender: %d", q.msg_lspid == p);
	msgctl(queue, IPC_RMID, 0);
	semctl(set, 0, IPC_RMID);
}

static void grep(const char *file, const char *what)
{
	char line[256];
	FILE *f = fopen(file, "r");
	if (!f) {
		err(file, -1);
		return;
	}
	while (fgets(line, sizeof line, f))
		if (strncmp(line, what, strlen(what)) == 0)
			say("%s %.*s", file, (int)strcspn(line, "\n"), line);
	fclose(f);
}

static void list(const char *dir)
{
	char all[256] = "";
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && strlen(all) < 200)
			strcat(strcat(all, " "), e->d_name);
	if (d)
		closedir(d);
	say("%s:%s", dir, all);
}

static int link_of(const char *name, char *to)
{
	int n = readlink(name, to, 63);
	to[n < 0 ? 0 : n] = 0;
	return n;
}

static void mounted(void)
{
	char a[64], b[64];
	int fd[2], ready[2], ns;
	char c;
	pipe(fd);
	pipe(ready);
	link_of("/proc/self", a);
	say("self by the outer is seen: %d", strcmp(a, "1") != 0 && atoi(a) > 0);
	unshare(CLONE_NEWNS);
	mount("none", "/", 0, MS_REC | MS_PRIVATE, 0);
	err("mount", mount("proc", "/proc", "proc", 0, 0));
	link_of("/proc/self", a);
	link_of("/proc/thread-self", b);
	say("self %s %s", a, b);
	list("/proc");
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0) {
		link_of("/proc/self", a);
		say("self of one below %s", a);
		grep("/proc/self/status", "NSpid");
		grep("/proc/self/status", "NSpgid");
		grep("/proc/self/status", "PPid");
		write(ready[1], "x", 1);
		read(fd[0], &c, 1);
		_exit(0);
	}
	read(ready[0], &c, 1);
	list("/proc");
	list("/proc/1/task");
	grep("/proc/1/status", "NS");
	grep("/proc/1/status", "PPid");
	grep("/proc/2/status", "NStgid");
	grep("/proc/2/status", "PPid");
	int f = open("/proc/1/stat", O_RDONLY), n = read(f, a, sizeof a);
	char *end = memchr(a, '-', n > 0 ? n : 0);
	say("stat %.*s", (int)(end ? end - a : 0), a);
	close(f);
	link_of("/proc/1/ns/pid", a);
	link_of("/proc/2/ns/pid", b);
	say("two namespaces: %d", strcmp(a, b) != 0);
	link_of("/proc/2/ns/pid_for_children", a);
	say("children's: %d", strcmp(a, b));
	ns = open("/proc/2/ns/pid", O_RDONLY);
	say("type %x", ioctl(ns, NS_GET_NSTYPE) == CLONE_NEWPID);
	int up = ioctl(ns, NS_GET_PARENT);
	err("parent", up);
	struct stat s, t;
	fstat(up, &s);
	stat("/proc/self/ns/pid", &t);
	say("which is ours: %d", s.st_ino == t.st_ino);
	err("parent's", ioctl(up, NS_GET_PARENT));
	err("setns", setns(ns, CLONE_NEWPID));
	pid_t in = fork();
	if (in == 0) {
		say("entered as %d of %d", getpid(), getppid());
		err("up again", setns(up, CLONE_NEWPID));
		_exit(0);
	}
	status("entered", await(in));
	err("back", setns(up, CLONE_NEWPID));
	in = fork();
	if (in == 0)
		_exit(getpid() == 1);
	status("here", await(in));
	write(fd[1], "x", 1);
	status("below", await(p));
	list("/proc");
}

static void proc(void) { inside(mounted); }

static void locked(void)
{
	static uint32_t word;
	err("lock", syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, 0));
	say("word %x", word);
	err("twice", syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, 0));
	err("unlock", syscall(SYS_futex, &word, FUTEX_UNLOCK_PI, 0, 0));
	say("word %x", word);
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_t *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutex_init(m, &a);
	if (fork() == 0) {
		pthread_mutex_lock(m);
		_exit(0);
	}
	wait(0);
	say("after its owner's end: %s", strerror(pthread_mutex_lock(m)));
	int tid = 0, cleared = 5;
	if (syscall(SYS_clone, CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | SIGCHLD, 0, &tid, &cleared, 0) == 0)
		_exit(cleared);
	int ws;
	wait(&ws);
	say("told %d, itself %d", tid, WEXITSTATUS(ws));
	say("set_tid_address %ld", syscall(SYS_set_tid_address, &tid));
}

static void futex(void) { inside(locked); }

static void forks_once(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	pid_t p = fork();
	if (p == 0)
		_exit(0);
	wait(0);
}

static void debugged(void)
{
	unsigned long message = 0;
	int ws;
	pid_t p = fork();
	if (p == 0) {
		forks_once();
		_exit(0);
	}
	waitpid(p, &ws, 0);
	siginfo_t si;
	ptrace(PTRACE_GETSIGINFO, p, 0, &si);
	say("tracee %d: stop by %d", p, si.si_pid);
	ptrace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, p, 0, 0);
	for (int left = 2; left > 0;) {
		pid_t q = waitpid(-1, &ws, __WALL);
		if (WIFSTOPPED(ws) && ws >> 16) {
			ptrace(PTRACE_GETEVENTMSG, q, 0, &message);
			say("child %lu", message);
		}
		if (WIFSTOPPED(ws))
			ptrace(PTRACE_CONT, q, 0, 0);
		else
			left--;
	}
	err("attach to nobody", ptrace(PTRACE_ATTACH, 99, 0, 0));
}

static void traced(void) { inside(debugged); }

/* Who traces from outside goes by its own numbers. */
static void traced_from_outside(void)
{
	int ws;
	unsigned long message = 0;
	pid_t p = spawn(CLONE_NEWPID);
	if (p == 0) {
		forks_once();
		_exit(0);
	}
	waitpid(p, &ws, 0);
	siginfo_t si;
	ptrace(PTRACE_GETSIGINFO, p, 0, &si);
	say("stop by %d", si.si_pid);
	ptrace(PTRACE_SETOPTIONS, p, 0, PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, p, 0, 0);
	pid_t child = 0;
	for (int left = 2; left > 0;) {
		pid_t q = waitpid(-1, &ws, __WALL);
		if (WIFSTOPPED(ws) && ws >> 16) {
			ptrace(PTRACE_GETEVENTMSG, q, 0, &message);
			child = message;
		} else if (q != p) {
			say("its child's number: %d", child == 0 || q == child);
		}
		if (WIFSTOPPED(ws))
			ptrace(PTRACE_CONT, q, 0, 0);
		else
			left--;
	}
}

static void terminal(void)
{
	int sid, m = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	unlockpt(m);
	setsid();
	int s = open(ptsname(m), O_RDWR);
	err("slave", s);
	say("foreground %d", tcgetpgrp(s));
	err("session", ioctl(s, TIOCGSID, &sid));
	say("which is %d", sid);
	pid_t p = fork();
	if (p == 0) {
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(p, p);
	err("foreground", tcsetpgrp(s, p));
	say("foreground %d", tcgetpgrp(s));
	err("nobody", tcsetpgrp(s, 99));
	err("nobody's group", setpgid(p, 99));
	for (int i = 0; getpgid(p) != p && i < 100; i++)
		msleep(1);
	write(m, "\003", 1);
	status("interrupted", await(p));
}

static void tty(void) { inside(terminal); }

/* A depth that nobody needs is refused. */
static void deep(void)
{
	int depth = 0, fd[2];
	pipe(fd);
	for (;;) {
		pid_t p = spawn(CLONE_NEWPID);
		if (p < 0) {
			write(fd[1], &depth, sizeof depth);
			write(fd[1], &errno, sizeof errno);
			break;
		}
		if (p > 0) {
			await(p);
			break;
		}
		depth++;
	}
	if (depth > 0)
		_exit(0);
	int e = 0;
	read(fd[0], &depth, sizeof depth);
	read(fd[0], &e, sizeof e);
	say("32 at most: %d, then %s", depth <= 32 && depth >= 29, strerror(e));
}

static void unprivileged(void)
{
	if (setgid(1001) || setuid(1000))
		err("setuid", -1);
	err("alone", unshare(CLONE_NEWPID));
	err("with a user's", unshare(CLONE_NEWUSER | CLONE_NEWPID));
	if (fork() == 0) {
		say("pid %d", getpid());
		err("ends itself", kill(1, SIGKILL));
		err("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0));
		pause();
	}
	int ws;
	wait(&ws);
	status("rebooted", ws);
}

const struct row pidns_rows[] = {
	{"pidns.first", first},
	{"pidns.later", later},
	{"pidns.end", end},
	{"pidns.orphans", orphans},
	{"pidns.signals", signals},
	{"pidns.parentsdeath", parents_death},
	{"pidns.settid", set_tid},
	{"pidns.names", names},
	{"pidns.proc", proc},
	{"pidns.futex", futex},
	{"pidns.traced", traced},
	{"pidns.tracedoutside", traced_from_outside},
	{"pidns.tty", tty},
	{"pidns.deep", deep},
	{"pidns.unprivileged", unprivileged},
	{0},
};
