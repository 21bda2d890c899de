/* vfork(2) and what is made of it: the child borrows its parent's memory, and what else
 * it has is its own. */
#include "cprogs.h"
#include <asm/prctl.h>
#include <spawn.h>
#include <sys/syscall.h>

static void nothing(int sig) { (void)sig; }

static void reap(const char *what, pid_t p)
{
	int ws = 0;
	if (waitpid(p, &ws, 0) != p)
		say("%s: not waited for", what);
	status(what, ws);
}

static volatile sig_atomic_t caught;
static volatile pid_t caught_in;
static void note(int sig)
{
	caught = sig;
	caught_in = getpid();
}

/* What the child changes of its own is not its parent's. */
static void state(void)
{
	static char stack[2][65536];
	stack_t ss = {.ss_sp = stack[0], .ss_size = sizeof stack[0]}, old;
	sigaltstack(&ss, 0);
	signal(SIGUSR1, nothing);
	sigset_t set, was;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, 0);
	pid_t me = getpid(), self = syscall(SYS_gettid);
	unsigned csr = 0x9f80, csr_after = 0; /* flush to zero */
	__asm__ volatile("ldmxcsr %0" ::"m"(csr));
	register double x __asm__("xmm9") = 1.5;
	__asm__ volatile("" : "+x"(x));
	pid_t p = vfork();
	if (p == 0) {
		unsigned other = 0x1f80;
		__asm__ volatile("ldmxcsr %0; pxor %%xmm9, %%xmm9" ::"m"(other) : "xmm9");
		sigfillset(&set);
		sigprocmask(SIG_SETMASK, &set, &was);
		signal(SIGUSR1, SIG_IGN);
		ss.ss_sp = stack[1];
		sigaltstack(&ss, &old);
		say("child: its own pid %d, its tid %d, its parent %d", getpid() != me, syscall(SYS_gettid) == getpid(), getppid() == me);
		say("child: mask %d%d, the stack is its parent's %d", sigismember(&was, SIGUSR1), sigismember(&was, SIGUSR2), old.ss_sp == stack[0]);
		struct rlimit l = {5, 5};
		setrlimit(RLIMIT_CORE, &l);
		setsid();
		chdir("/proc");
		umask(0123);
		close(0);
		_exit(3);
	}
	__asm__ volatile("stmxcsr %0" : "=m"(csr_after));
	say("mxcsr as before %d", (csr_after & 0x8000) != 0);
	csr = 0x1f80;
	__asm__ volatile("ldmxcsr %0" ::"m"(csr));
	sigprocmask(SIG_SETMASK, 0, &was);
	struct sigaction a;
	sigaction(SIGUSR1, 0, &a);
	sigaltstack(0, &old);
	char dir[64] = "";
	struct rlimit l;
	getrlimit(RLIMIT_CORE, &l);
	say("parent: pid %d tid %d, mask %d%d, handler %d, stack %d", getpid() == me, syscall(SYS_gettid) == self, sigismember(&was, SIGUSR1),
	    sigismember(&was, SIGUSR2), a.sa_handler == nothing, old.ss_sp == stack[0]);
	say("parent: limit %d, session %d, umask %d, stdin %d, /proc %d", l.rlim_cur == 5, getsid(0) == p, umask(022) == 0123,
	    fcntl(0, F_GETFD) != -1, getcwd(dir, sizeof dir) && strcmp(dir, "/proc") == 0);
	reap("child", p);
}

/* Thread-local storage, and what else the host's thread has. */
static void thread_state(void)
{
	unsigned long fs = 0, after = 0;
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
	static long tid_word = -1;
	size_t len;
	void *list = 0, *list_after = 0;
	static long head[3] = {0};
	syscall(SYS_get_robust_list, 0, &list, &len);
	pid_t p = vfork();
	if (p == 0) {
		long r = syscall(SYS_set_tid_address, &tid_word), mine = syscall(SYS_getpid);
		void *none = (void *)1;
		syscall(SYS_get_robust_list, 0, &none, &len);
		syscall(SYS_set_robust_list, head, 24L);
		say("child: set_tid_address gives its id %d; no robust list %d", r == mine, none == 0);
		static char tls[4096];
		*(void **)(tls + 2048) = tls + 2048;
		unsigned long canary = *(unsigned long *)(fs + 0x28);
		*(unsigned long *)(tls + 2048 + 0x28) = canary;
		syscall(SYS_arch_prctl, ARCH_SET_FS, tls + 2048);
		syscall(SYS_exit_group, 4);
	}
	syscall(SYS_arch_prctl, ARCH_GET_FS, &after);
	syscall(SYS_get_robust_list, 0, &list_after, &len);
	for (long until = now() + 20000; *(volatile int *)&tid_word != 0 && now() < until;)
		msleep(1);
	say("parent: FS %d, robust list %d, the child's word cleared %d", fs == after, list == list_after, (int)tid_word == 0);
	reap("child", p);
}

/* Signals to the parent wait for the child; the child takes its own. */
static void signals(void)
{
	pid_t me = getpid();
	struct sigaction a = {.sa_handler = note, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &a, 0);
	pid_t p = vfork();
	if (p == 0) {
		kill(me, SIGUSR1);
		msleep(20);
		say("the parent has not taken its signal: %d", caught == 0);
		raise(SIGUSR1);
		say("the child took its own: %d", caught == SIGUSR1 && caught_in == getpid());
		caught = 0, caught_in = 0;
		_exit(0);
	}
	say("the parent takes it: %d", caught == SIGUSR1 && caught_in == me);
	reap("child", p);
	p = vfork();
	if (p == 0) {
		*(volatile int *)8 = 1;
		_exit(0);
	}
	reap("fault", p);
	a.sa_handler = note;
	p = vfork();
	if (p == 0)
		kill(getpid(), SIGKILL);
	reap("SIGKILL", p);
	p = vfork();
	if (p == 0) {
		signal(SIGTERM, SIG_DFL);
		raise(SIGTERM);
	}
	reap("SIGTERM", p);
	for (volatile int i = 0; i < 50; i++) {
		p = vfork();
		if (p == 0)
			_exit(i);
		int ws;
		if (waitpid(p, &ws, 0) != p || WEXITSTATUS(ws) != i)
			say("round %d: %x", i, ws);
	}
	err("no child is left", wait(0));
}

/* A parent that is killed ends at once; its child goes on. */
static void parent_ends_by(int sig)
{
	int up[2], down[2];
	if (pipe(up) || pipe(down))
		_exit(1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t p = fork();
	if (p == 0) {
		if (vfork() == 0) {
			pid_t id = getpid();
			char c;
			if (write(up[1], &id, sizeof id) < 0 || read(down[0], &c, 1) != 1)
				_exit(1);
			char *argv[] = {"cprogs", "+exit", "23", 0};
			execv("/proc/self/exe", argv);
			_exit(99);
		}
		_exit(0);
	}
	pid_t child;
	say("the child runs: %d", read(up[0], &child, sizeof child) == sizeof child);
	kill(p, sig);
	reap("parent", p);
	err("the child is there", kill(child, 0));
	if (write(down[1], "", 1) != 1)
		_exit(1);
	reap("child", child);
}

static void killed_parent(void)
{
	parent_ends_by(SIGKILL);
	parent_ends_by(SIGTERM);
}

/* Another thread of the parent ends it all, or executes a program. */
struct two {
	int up[2], down[2];
};

static void *borrow(void *arg)
{
	struct two *t = arg;
	if (vfork() == 0) {
		char c;
		pid_t id = getpid();
		if (write(t->up[1], &id, sizeof id) < 0 || read(t->down[0], &c, 1) != 1)
			_exit(1);
		char *argv[] = {"cprogs", "+exit", "24", 0};
		execv("/proc/self/exe", argv);
		_exit(99);
	}
	return 0;
}

static void other_thread(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int how = 0; how < 2; how++) {
		struct two t;
		if (pipe(t.up) || pipe(t.down))
			_exit(1);
		pid_t p = fork(), child;
		if (p == 0) {
			pthread_t th;
			pid_t id;
			pthread_create(&th, 0, borrow, &t);
			if (read(t.up[0], &id, sizeof id) != sizeof id)
				_exit(1);
			if (write(t.up[1], &id, sizeof id) < 0)
				_exit(1);
			char *argv[] = {"cprogs", "+exit", "25", 0};
			if (how == 1)
				execv("/proc/self/exe", argv);
			_exit(26);
		}
		reap(how ? "executes" : "exits", p);
		if (read(t.up[0], &child, sizeof child) != sizeof child)
			_exit(1);
		if (write(t.down[1], "", 1) != 1)
			_exit(1);
		reap("child", child);
		close(t.up[0]), close(t.up[1]), close(t.down[0]), close(t.down[1]);
	}
}

/* The parent's other threads run meanwhile, and let the child go on. */
static volatile int ticks;
static int gate[2];

static void *run_on(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++) {
		msleep(1);
		ticks++;
		munmap(mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
	}
	if (write(gate[1], "x", 1) != 1)
		_exit(1);
	return 0;
}

static void beside_threads(void)
{
	if (pipe(gate))
		_exit(1);
	signal(SIGUSR1, nothing);
	for (int i = 0; i < 3; i++) {
		pthread_t th;
		ticks = 0;
		pthread_create(&th, 0, run_on, 0);
		pid_t p = vfork();
		if (p == 0) {
			char c;
			_exit(read(gate[0], &c, 1) == 1 && ticks == 20 ? 5 : 6);
		}
		pthread_join(th, 0);
		reap("child", p);
	}
}

/* A child that makes others: with the same memory, or a copy of it. */
static void makes_others(void)
{
	volatile int steps = 0;
	pid_t p = vfork();
	if (p == 0) {
		steps++;
		pid_t mine = getpid(), q = vfork();
		if (q == 0) {
			steps++;
			_exit(7);
		}
		reap("its vfork", q);
		q = fork();
		if (q == 0) {
			steps += 100;
			_exit(getppid() == mine ? 9 : 8);
		}
		reap("its fork", q);
		char *argv[] = {"cprogs", "+exit", "27", 0};
		if (posix_spawn(&q, "/proc/self/exe", 0, 0, argv, environ) == 0)
			reap("its spawn", q);
		steps++;
		_exit(6);
	}
	say("steps %d", steps);
	reap("child", p);
}

static int in_clone(void *arg)
{
	volatile int *seen = arg;
	seen[0] = 1;
	seen[1] = seen[2] == getpid();
	return 11;
}

/* clone(2) with CLONE_VM|CLONE_VFORK and what can go with it. */
static void flags(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	static const struct {
		const char *name;
		int flags;
	} rows[] = {
		{"plain", 0}, {"PARENT_SETTID", CLONE_PARENT_SETTID}, {"CHILD_SETTID", CLONE_CHILD_SETTID},
		{"CHILD_CLEARTID", CLONE_CHILD_CLEARTID}, {"FILES and FS", CLONE_FILES | CLONE_FS}, {"SIGHAND", CLONE_SIGHAND},
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		static volatile int seen[3], ptid;
		seen[0] = seen[1] = seen[2] = ptid = 0;
		int p = clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD | rows[i].flags, (void *)seen, &ptid, 0, &seen[2]);
		say("%s: ran %d, knew its id %d, parent does %d", rows[i].name, seen[0], seen[1], ptid == p);
		reap(rows[i].name, p);
	}
	volatile int pidfd = -1;
	int none[3] = {0};
	int p = clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD | CLONE_PIDFD, none, &pidfd);
	siginfo_t si = {0};
	err("pidfd", waitid(P_PIDFD, pidfd, &si, WEXITED));
	say("its child %d, status %d", si.si_pid == p, si.si_status);
	err("pidfd nowhere", clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD | CLONE_PIDFD, none, (int *)8));
	err("no child is left", wait(0));
}

static void spawn(void)
{
	char *argv[] = {"cprogs", "+exit", "21", 0};
	pid_t p;
	for (int i = 0; i < 20; i++) {
		int r = posix_spawn(&p, "/proc/self/exe", 0, 0, argv, environ);
		int ws;
		if (r || waitpid(p, &ws, 0) != p || WEXITSTATUS(ws) != 21)
			say("round %d: %d", i, r);
	}
	say("no such file: %d", posix_spawn(&p, "/none", 0, 0, argv, environ) == ENOENT);
	err("no child is left", wait(0));
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addclose(&fa, 0);
	posix_spawn_file_actions_addopen(&fa, 5, "/dev/null", O_RDONLY, 0);
	posix_spawnattr_init(&at);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setsigmask(&at, &none);
	say("with attributes: %d", posix_spawn(&p, "/proc/self/exe", &fa, &at, argv, environ));
	reap("it", p);
	posix_spawn_file_actions_addclose(&fa, 200);
	posix_spawn_file_actions_adddup2(&fa, 201, 3);
	say("a bad descriptor: %d", posix_spawn(&p, "/proc/self/exe", &fa, &at, argv, environ) == EBADF);
	err("no child is left", wait(0));
}

static volatile pid_t stopped;

static void *continues(void *arg)
{
	(void)arg;
	int ws;
	while (stopped == 0)
		msleep(1);
	if (waitpid(stopped, &ws, WUNTRACED) == stopped)
		status("seen by another thread", ws);
	kill(stopped, SIGCONT);
	return 0;
}

static void stop(void)
{
	pthread_t th;
	pthread_create(&th, 0, continues, 0);
	pid_t p = vfork();
	if (p == 0) {
		stopped = getpid();
		raise(SIGSTOP);
		_exit(12);
	}
	pthread_join(th, 0);
	reap("child", p);
}

/* The child's time is not its parent's. */
static void times_of(void)
{
	pid_t p = vfork();
	if (p == 0) {
		struct timespec t = {0};
		while (t.tv_sec == 0 && t.tv_nsec < 200000000)
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		_exit(0);
	}
	reap("child", p);
	struct rusage self, children;
	getrusage(RUSAGE_CHILDREN, &children);
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	getrusage(RUSAGE_SELF, &self);
	long ms = children.ru_utime.tv_sec * 1000 + children.ru_utime.tv_usec / 1000 + children.ru_stime.tv_sec * 1000 + children.ru_stime.tv_usec / 1000;
	say("the child's %d, its parent's %d", ms >= 190, t.tv_sec == 0 && t.tv_nsec < 150000000);
}

/* Killed at any moment, with its children, nothing of it is left. */
static void storm(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int killed = 0;
	for (int i = 0; i < 40; i++) {
		pid_t p = fork();
		if (p == 0) {
			setpgid(0, 0);
			for (int k = 0;; k++) {
				pid_t q = vfork();
				if (q == 0) {
					char *argv[] = {"cprogs", "+exit", "0", 0};
					if (k % 4 == 3)
						execv("/proc/self/exe", argv);
					_exit(0);
				}
				waitpid(q, 0, 0);
			}
		}
		setpgid(p, p);
		struct timespec t = {0, (i * 7919 % 4000) * 1000};
		nanosleep(&t, 0);
		kill(i % 2 ? p : -p, SIGKILL);
		int ws;
		killed += waitpid(p, &ws, 0) == p && WIFSIGNALED(ws);
	}
	while (wait(0) > 0)
		;
	say("killed %d", killed);
	err("none is left", wait(0));
}

const struct row vfork_rows[] = {
	{"vfork.state", state},
	{"vfork.thread-state", thread_state},
	{"vfork.signals", signals},
	{"vfork.killed-parent", killed_parent},
	{"vfork.other-thread", other_thread},
	{"vfork.beside-threads", beside_threads},
	{"vfork.makes-others", makes_others},
	{"vfork.flags", flags},
	{"vfork.spawn", spawn},
	{"vfork.stop", stop},
	{"vfork.times", times_of},
	{"vfork.storm", storm},
	{NULL, NULL},
};
