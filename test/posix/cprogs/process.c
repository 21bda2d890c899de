#include "cprogs.h"

static void on_signal(int sig)
{
	(void)sig;
}

static void fork_exit(void)
{
	for (int code = 0; code < 300; code += 51) {
		pid_t p = fork();
		if (p == 0)
			_exit(code);
		int ws;
		say("wait gives the child: %d", waitpid(p, &ws, 0) == p);
		status("child", ws);
	}
	int ws;
	err("no children", wait(&ws));
	err("not a child", waitpid(1, &ws, 0));
	err("bad option", waitpid(-1, &ws, 0x1000));
}

static volatile pid_t caught_by;

static void note_catcher(int sig)
{
	(void)sig;
	caught_by = getpid();
}

/* A signal that comes while the call is being served is the parent's alone. */
static void fork_signals(void)
{
	struct sigaction a = {.sa_handler = note_catcher, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &a, 0);
	sigaction(SIGCHLD, &a, 0);
	struct itimerval often = {{0, 300}, {0, 300}};
	setitimer(ITIMER_REAL, &often, 0);
	int made = 0, well = 0, ws;
	for (int round = 0; round < 60; round++) {
		pid_t p[5];
		for (int i = 0; i < 5; i++)
			if ((p[i] = fork()) == 0)
				_exit(caught_by == getpid() ? 99 : i);
		for (int i = 0; i < 5; i++) {
			made += p[i] > 0;
			well += waitpid(p[i], &ws, 0) == p[i] && WIFEXITED(ws) && WEXITSTATUS(ws) == i;
		}
	}
	setitimer(ITIMER_REAL, &(struct itimerval){0}, 0);
	say("made %d, exited as they should %d", made, well);
}

static void fork_memory(void)
{
	int shared_fd[2];
	static int global = 1;
	int local = 2;
	int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int *heap = malloc(1 << 20);
	*heap = 3;
	*shared = 4;
	if (pipe(shared_fd) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		global = 10, local = 20, *heap = 30, *shared = 40;
		say("child sees %d %d %d %d", global, local, *heap, *shared);
		_exit(0);
	}
	waitpid(p, 0, 0);
	say("parent sees %d %d %d %d", global, local, *heap, *shared);
}

static void fork_offsets(void)
{
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	say("wrote %zd", write(fd, "0123456789", 10));
	lseek(fd, 2, SEEK_SET);
	if (fork() == 0) {
		lseek(fd, 3, SEEK_CUR);
		close(fd);
		_exit(0);
	}
	wait(0);
	say("offset moved by the child: %ld", (long)lseek(fd, 0, SEEK_CUR));
}

static void vfork_exec(void)
{
	volatile int order = 0;
	pid_t p = vfork();
	if (p == 0) {
		order = 1;
		execl("/proc/self/exe", "cprogs", "+exit", "23", (char *)0);
		_exit(99);
	}
	say("the child ran first: %d", order);
	int ws;
	waitpid(p, &ws, 0);
	status("exec", ws);
	p = vfork();
	if (p == 0)
		_exit(7);
	waitpid(p, &ws, 0);
	status("exit", ws);
}

static void wait_variants(void)
{
	int ws, go[2];
	if (pipe(go) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		char c;
		close(go[1]);
		_exit(read(go[0], &c, 1) == 0 ? 5 : 6);
	}
	close(go[0]);
	say("not yet: %d", waitpid(p, &ws, WNOHANG));
	siginfo_t si = {0};
	err("waitid not yet", waitid(P_PID, p, &si, WEXITED | WNOHANG));
	say("no pid: %d", si.si_pid);
	close(go[1]);
	err("waitid without reaping", waitid(P_PID, p, &si, WEXITED | WNOWAIT));
	say("pid %d code %d status %d signo %d uid %d", si.si_pid == p, si.si_code, si.si_status, si.si_signo, si.si_uid);
	struct rusage ru;
	say("wait4: %d", wait4(p, &ws, 0, &ru) == p);
	status("it", ws);
	err("again", waitpid(p, &ws, 0));
	err("waitid without options", waitid(P_ALL, 0, &si, 0));
	p = fork();
	if (p == 0) {
		setpgid(0, 0);
		_exit(1);
	}
	setpgid(p, p);
	say("by group: %d", waitpid(-p, &ws, 0) == p);
	p = fork();
	if (p == 0)
		_exit(2);
	say("own group: %d", waitpid(0, &ws, 0) == p);
}

static void stop_continue(void)
{
	int ws, go[2];
	if (pipe(go) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		raise(SIGSTOP);
		char c;
		_exit(read(go[0], &c, 1) == 1 ? 3 : 4);
	}
	waitpid(p, &ws, WUNTRACED);
	status("child", ws);
	say("nothing new: %d", waitpid(p, &ws, WNOHANG | WUNTRACED));
	kill(p, SIGCONT);
	waitpid(p, &ws, WCONTINUED);
	status("child", ws);
	say("let it go %zd", write(go[1], "x", 1));
	waitpid(p, &ws, 0);
	status("child", ws);
	p = fork();
	if (p == 0)
		for (;;)
			pause();
	kill(p, SIGSTOP);
	waitpid(p, &ws, WUNTRACED);
	status("child", ws);
	kill(p, SIGTERM);
	msleep(20);
	say("a stopped process keeps its signal: %d", waitpid(p, &ws, WNOHANG));
	kill(p, SIGKILL);
	waitpid(p, &ws, 0);
	status("child", ws);
}

static void killed_by(void)
{
	int sigs[] = {SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGHUP, SIGUSR1, SIGALRM, SIGRTMIN, SIGCHLD, SIGWINCH, SIGURG};
	for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++) {
		pid_t p = fork();
		if (p == 0) {
			raise(sigs[i]);
			_exit(44);
		}
		int ws;
		waitpid(p, &ws, 0);
		status("child", ws);
	}
}

static void sessions(void)
{
	pid_t me = getpid();
	setpgid(0, 0);
	say("leads a group %d", getpgrp() == me);
	err("setsid by a leader", setsid());
	pid_t p = fork();
	if (p == 0) {
		say("in the parent's group %d", getpgrp() == me);
		say("setsid %d", setsid() == getpid());
		say("leads %d %d", getpgrp() == getpid(), getsid(0) == getpid());
		err("setpgid of a session leader", setpgid(0, 0));
		err("open tty without one", open("/dev/tty", O_RDWR));
		_exit(0);
	}
	waitpid(p, 0, 0);
	p = fork();
	if (p == 0) {
		pause();
		_exit(0);
	}
	err("setpgid of a child", setpgid(p, p));
	say("it leads %d", getpgid(p) == p);
	err("into no such group", setpgid(p, 999999));
	err("negative", setpgid(p, -1));
	err("of no process", setpgid(1 << 22, 0));
	kill(-p, SIGTERM);
	int ws;
	waitpid(p, &ws, 0);
	status("group signalled", ws);
	err("the group is gone", kill(-p, 0));
}

static void zombies(void)
{
	char path[64], state = '?';
	pid_t p = fork();
	if (p == 0)
		_exit(1);
	siginfo_t si;
	waitid(P_PID, p, &si, WEXITED | WNOWAIT);
	err("a zombie takes signals", kill(p, SIGTERM));
	snprintf(path, sizeof path, "/proc/%d/stat", p);
	FILE *f = fopen(path, "r");
	if (f && fscanf(f, "%*d %*s %c", &state) != 1)
		state = '!';
	if (f)
		fclose(f);
	say("state %c", state);
	waitpid(p, 0, 0);
	err("then it is gone", kill(p, 0));
	signal(SIGCHLD, SIG_IGN);
	p = fork();
	if (p == 0)
		_exit(1);
	err("ignored SIGCHLD: no zombies", waitpid(p, 0, 0));
	signal(SIGCHLD, SIG_DFL);
}

static void orphans(void)
{
	int report[2];
	if (pipe(report) != 0)
		_exit(1);
	err("become a subreaper", prctl(PR_SET_CHILD_SUBREAPER, 1));
	pid_t p = fork();
	if (p == 0) {
		pid_t me = getpid();
		if (fork() == 0) {
			while (getppid() == me)
				msleep(1);
			pid_t parent = getppid();
			_exit(write(report[1], &parent, sizeof parent) == sizeof parent ? 9 : 1);
		}
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	pid_t parent = 0;
	say("read %zd", read(report[0], &parent, sizeof parent));
	say("adopted by the subreaper %d", parent == getpid());
	say("waited for %d", wait(&ws) > 0);
	status("grandchild", ws);
	err("no more", wait(&ws));
}

static void exec_state(void)
{
	/* What survives exec: pid, cwd, ignored signals; not handlers. */
	char self[32];
	signal(SIGUSR1, SIG_IGN);
	pid_t p = fork();
	if (p == 0) {
		snprintf(self, sizeof self, "%d", getpid());
		execl("/bin/sh", "sh", "-c", "kill -USR1 $$; [ $$ = $0 ] && echo same pid; pwd | grep -c cprogs", self, (char *)0);
		_exit(99);
	}
	int ws;
	waitpid(p, &ws, 0);
	status("ignored", ws);
	signal(SIGUSR1, on_signal);
	p = fork();
	if (p == 0) {
		execl("/bin/sh", "sh", "-c", "kill -USR1 $$; echo not reached", (char *)0);
		_exit(99);
	}
	waitpid(p, &ws, 0);
	status("handlers are reset", ws);
	err("exec of a directory", execl("/", "x", (char *)0));
	err("exec of nothing", execl("/none", "x", (char *)0));
	err("bad argv", syscall(SYS_execve, "/bin/true", 8, 0));
	p = fork();
	if (p == 0) {
		syscall(SYS_execve, "/bin/true", 0, 0);
		_exit(99);
	}
	waitpid(p, &ws, 0);
	status("no argv at all", ws);
}

static void *exec_thread(void *arg)
{
	(void)arg;
	execl("/proc/self/exe", "cprogs", "+exit", "31", (char *)0);
	_exit(98);
}

static void exec_from_thread(void)
{
	pid_t p = fork();
	if (p == 0) {
		pthread_t t;
		for (int i = 0; i < 3; i++)
			pthread_create(&t, 0, (void *(*)(void *))(void *)pause, 0);
		pthread_create(&t, 0, exec_thread, 0);
		for (;;)
			pause();
	}
	int ws;
	waitpid(p, &ws, 0);
	status("the process", ws);
}

static void *group_exit_thread(void *arg)
{
	(void)arg;
	msleep(10);
	exit(12);
}

static void exit_group_threads(void)
{
	pid_t p = fork();
	if (p == 0) {
		pthread_t t;
		pthread_create(&t, 0, group_exit_thread, 0);
		for (;;)
			pause();
	}
	int ws;
	waitpid(p, &ws, 0);
	status("exit in a thread", ws);
	p = fork();
	if (p == 0) {
		pthread_t t;
		pthread_create(&t, 0, group_exit_thread, 0);
		pthread_exit(0);
	}
	waitpid(p, &ws, 0);
	status("the leader left first", ws);
	p = fork();
	if (p == 0) {
		pthread_t t;
		pthread_create(&t, 0, group_exit_thread, 0);
		for (;;)
			; /* computing, not in a call */
	}
	waitpid(p, &ws, 0);
	status("a computing leader", ws);
}

static void clone_flags(void)
{
	err("THREAD without SIGHAND", syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
	err("SIGHAND without VM", syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
	err("FS and NEWNS", syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0));
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	pid_t p = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (p == 0) {
		close(fd);
		_exit(0);
	}
	waitpid(p, 0, 0);
	err("closed by a child that shares files", fcntl(fd, F_GETFD));
	mkdir("sub", 0755);
	p = syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);
	if (p == 0)
		_exit(chdir("sub") != 0);
	waitpid(p, 0, 0);
	char cwd[4096];
	say("the child moved us: %d", getcwd(cwd, sizeof cwd) && strcmp(strrchr(cwd, '/'), "/sub") == 0);
	signal(SIGUSR1, on_signal);
	p = syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
	if (p == 0)
		_exit(4);
	int ws;
	err("an exit signal other than SIGCHLD needs __WALL", waitpid(p, &ws, 0));
	pid_t got;
	while ((got = waitpid(p, &ws, __WALL)) == -1 && errno == EINTR)
		;
	say("with it: %d", got == p);
	pid_t tid = -1;
	p = syscall(SYS_clone, CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | SIGCHLD, 0, &tid, &tid, 0);
	if (p == 0)
		_exit(tid != getpid());
	say("parent's tid %d", tid == p);
	waitpid(p, &ws, 0);
	status("child's tid", ws);
}

static void many_children(void)
{
	int alive = 0, sum = 0;
	for (int i = 0; i < 60; i++) {
		pid_t p = fork();
		if (p == 0) {
			msleep(i % 7);
			_exit(i);
		}
		alive += p > 0;
	}
	for (int ws; wait(&ws) > 0;)
		sum += WEXITSTATUS(ws);
	say("%d children, sum %d", alive, sum);
	for (int depth = 0, ws; depth < 20; depth++) {
		pid_t p = fork();
		if (p != 0) {
			waitpid(p, &ws, 0);
			if (depth == 0) {
				status("chain", ws);
				return;
			}
			_exit(WEXITSTATUS(ws));
		}
	}
	_exit(66);
}

static void pids(void)
{
	say("pid %d ppid %d tid %d", getpid() > 0, getppid() > 0, gettid() == getpid());
	pid_t me = getpid(), p = fork();
	if (p == 0)
		_exit(getppid() == me && getpid() != me ? 1 : 0);
	int ws;
	waitpid(p, &ws, 0);
	status("child's parent is me", ws);
	err("kill no process", kill(1 << 22, 0));
	err("kill bad signal", kill(me, 65));
	err("tgkill wrong group", syscall(SYS_tgkill, 1, me, 0));
	err("tgkill negative", syscall(SYS_tgkill, -1, me, 0));
	err("getpgid of none", getpgid(1 << 22));
	err("getsid of none", getsid(1 << 22));
}

const struct row process_rows[] = {
	{"process.fork-exit", fork_exit},
	{"process.fork-memory", fork_memory},
	{"process.fork-signals", fork_signals},
	{"process.fork-offsets", fork_offsets},
	{"process.vfork", vfork_exec},
	{"process.wait", wait_variants},
	{"process.stop", stop_continue},
	{"process.killed", killed_by},
	{"process.sessions", sessions},
	{"process.zombies", zombies},
	{"process.orphans", orphans},
	{"process.exec", exec_state},
	{"process.exec-thread", exec_from_thread},
	{"process.exit-group", exit_group_threads},
	{"process.clone", clone_flags},
	{"process.many", many_children},
	{"process.pids", pids},
	{0, 0},
};
