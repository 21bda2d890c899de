#include "cprogs.h"
#include <linux/membarrier.h>
#include <sys/uio.h>

/* Calls that few programs make, but those that do depend on. */

static long membarrier(int command, unsigned flags)
{
	return syscall(SYS_membarrier, command, flags, 0);
}

static _Atomic int go_on = 1, turns;

static void *spinner(void *arg)
{
	while (go_on)
		turns++;
	return arg;
}

static void barriers(void)
{
	int wanted = MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
		     MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;
	say("known %#lx", membarrier(MEMBARRIER_CMD_QUERY, 0) & wanted);
	err("before it is registered", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	err("register", membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	err("alone", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	pthread_t p;
	pthread_create(&p, 0, spinner, 0);
	while (turns == 0)
		sched_yield();
	int bad = 0;
	for (int i = 0; i < 1000; i++)
		bad += membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) != 0;
	go_on = 0;
	pthread_join(p, 0);
	say("beside a thread that runs: %d failed", bad);
	err("another kind", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	err("register that", membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	err("now", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	err("two at once", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	err("flags", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 2));
	err("unknown", membarrier(1 << 20, 0));
	err("negative", membarrier(-1, 0));
	int ws;
	if (fork() == 0) {
		err("a child is registered", membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
		_exit(0);
	}
	wait(&ws);
}

enum { KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND };

static long kcmp(pid_t a, pid_t b, int kind, long x, long y)
{
	return syscall(SYS_kcmp, a, b, kind, x, y);
}

static void compare(void)
{
	pid_t me = getpid();
	int fd = open("f", O_CREAT | O_RDWR, 0644), same = dup(fd), other = open("f", O_RDWR);
	say("dup %ld", kcmp(me, me, KCMP_FILE, fd, same));
	long r = kcmp(me, me, KCMP_FILE, fd, other), s = kcmp(me, me, KCMP_FILE, other, fd);
	say("opened twice differ %d, in opposite ways %d", r > 0, r + s == 3);
	err("no such descriptor", kcmp(me, me, KCMP_FILE, fd, 99));
	int p[2], ws;
	if (pipe(p) != 0)
		return;
	pid_t c = fork();
	if (c == 0) {
		char b;
		close(p[1]);
		_exit(read(p[0], &b, 1));
	}
	say("a child's file %ld", kcmp(me, c, KCMP_FILE, fd, fd));
	for (int kind = KCMP_VM; kind <= KCMP_SIGHAND; kind++)
		say("kind %d: with itself %ld, with a child differs %d", kind, kcmp(me, me, kind, 0, 0), kcmp(me, c, kind, 0, 0) > 0);
	err("unknown kind", kcmp(me, c, 99, 0, 0));
	err("no such process", kcmp(me, 1 << 21, KCMP_VM, 0, 0));
	close(p[1]);
	waitpid(c, &ws, 0);
	status("child", ws);
	c = fork();
	if (c == 0) {
		setuid(1000);
		err("somebody else's", kcmp(getpid(), getppid(), KCMP_VM, 0, 0));
		_exit(0);
	}
	waitpid(c, &ws, 0);
}

#define PRIO(class, level) ((class) << 13 | (level))

static long ioprio_set(int which, int who, int value) { return syscall(SYS_ioprio_set, which, who, value); }
static long ioprio_get(int which, int who) { return syscall(SYS_ioprio_get, which, who); }

static void ioprio(void)
{
	err("set best effort 6", ioprio_set(1, 0, PRIO(2, 6)));
	say("get %#lx", ioprio_get(1, 0));
	int ws;
	if (fork() == 0) {
		say("child %#lx", ioprio_get(1, 0));
		err("set idle", ioprio_set(1, 0, PRIO(3, 0)));
		say("get %#lx", ioprio_get(1, getpid()));
		setuid(1000);
		err("real time without privilege", ioprio_set(1, 0, PRIO(1, 0)));
		err("somebody else's", ioprio_set(1, getppid(), PRIO(2, 1)));
		_exit(0);
	}
	wait(&ws);
	err("real time", ioprio_set(1, 0, PRIO(1, 3)));
	say("get %#lx", ioprio_get(1, 0));
	err("no class with a level", ioprio_set(1, 0, PRIO(0, 3)));
	err("class 5", ioprio_set(1, 0, PRIO(5, 0)));
	err("of nothing", ioprio_set(9, 0, PRIO(2, 0)));
	err("no such process", ioprio_get(1, 1 << 21));
	err("of nothing", ioprio_get(9, 0));
	err("of a group", ioprio_set(2, 0, PRIO(2, 7)));
}

static void processor(void)
{
	unsigned cpu = 12345, node = 12345;
	err("getcpu", syscall(SYS_getcpu, &cpu, &node, 0));
	say("processor there %d node there %d", cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF), node < 64);
	err("neither", syscall(SYS_getcpu, 0, 0, 0));
	err("bad address", syscall(SYS_getcpu, 8, 0, 0));
}

static long thread_time(void)
{
	struct timespec t = {0, 0};
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *burn(void *arg)
{
	struct rusage u;
	while (thread_time() < 120)
		;
	getrusage(RUSAGE_THREAD, &u);
	say("a busy thread: getrusage %d", (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000 >= 100);
	return arg;
}

static void thread_clock(void)
{
	struct rusage u;
	pthread_t p;
	pthread_create(&p, 0, burn, 0);
	pthread_join(p, 0);
	say("the one that waits: clock %d", thread_time() < 60);
	getrusage(RUSAGE_THREAD, &u);
	say("getrusage %d", u.ru_utime.tv_sec == 0 && u.ru_utime.tv_usec < 60000);
	getrusage(RUSAGE_SELF, &u);
	say("of the process %d", u.ru_utime.tv_sec > 0 || u.ru_utime.tv_usec + u.ru_stime.tv_usec >= 100000);
	err("no address", syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, 8));
	err("no address", syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, -4096L));
	err("no address", syscall(SYS_getrusage, RUSAGE_THREAD, 8));
}

/* The shortest of many waits of 200 microseconds: a busy machine makes any of them
 * longer, but not all. */
static long shortest(int with_select)
{
	long best = 1000000000;
	for (int i = 0; i < 60; i++) {
		struct timespec a, b, t = {0, 200000};
		struct timeval tv = {0, 200};
		clock_gettime(CLOCK_MONOTONIC, &a);
		if (with_select)
			select(0, 0, 0, 0, &tv);
		else
			nanosleep(&t, 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		long took = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
		if (took < best)
			best = took;
	}
	return best;
}

static void on_time(void)
{
	long s = shortest(0), p = shortest(1);
	say("sleeps end neither early %d nor long after %d", s >= 200000, s < 800000);
	say("so does select: %d %d", p >= 200000, p < 800000);
}

/* What a container may not do, whoever it is there. */
static void refused(void)
{
	struct {
		unsigned version;
		int pid;
	} h = {0x20080522, 0};
	unsigned none[6] = {0};
	err("drop all capabilities", syscall(SYS_capset, &h, none));
	err("acct", syscall(SYS_acct, 0));
	err("swapon", syscall(SYS_swapon, "f", 0));
	err("swapoff", syscall(SYS_swapoff, "f"));
	err("vhangup", syscall(SYS_vhangup));
	err("reboot", syscall(SYS_reboot, 1, 2, 3, 4));
	err("settimeofday", syscall(SYS_settimeofday, &(struct timeval){1, 1}, 0));
	err("open_by_handle_at", syscall(SYS_open_by_handle_at, -100, &(struct {int n, type; char b[8]; }){8, 1, ""}, 0));
	err("sethostname", syscall(SYS_sethostname, "x", 1));
	err("pkey_free", syscall(SYS_pkey_free, 5));
	err("pkey_alloc with flags", syscall(SYS_pkey_alloc, 1, 0));
	err("pkey_alloc with rights", syscall(SYS_pkey_alloc, 0, 8));
	err("userfaultfd", syscall(SYS_userfaultfd, 0));
	char *m = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	err("pkey_mprotect without one", syscall(SYS_pkey_mprotect, m, 4096, PROT_READ | PROT_WRITE, -1));
	*m = 1;
	err("pkey_mprotect with one that is not", syscall(SYS_pkey_mprotect, m, 4096, PROT_READ | PROT_WRITE, 9));
}

static void numa(void)
{
	unsigned long one = 1, far = 1ul << 40, seen = 0;
	int mode = -1;
	err("get", syscall(SYS_get_mempolicy, &mode, &seen, 1025, 0, 0));
	say("mode %d nodes %#lx", mode, seen);
	err("what is allowed", syscall(SYS_get_mempolicy, 0, &seen, 1025, 0, 4));
	say("node 0 %lu", seen & 1);
	err("bind", syscall(SYS_set_mempolicy, 2, &one, 65));
	err("get", syscall(SYS_get_mempolicy, &mode, &seen, 1025, 0, 0));
	say("mode %d nodes %#lx", mode, seen);
	err("a node that is not", syscall(SYS_set_mempolicy, 2, &far, 65));
	err("bind to none", syscall(SYS_set_mempolicy, 2, 0, 0));
	err("default with nodes", syscall(SYS_set_mempolicy, 0, &one, 65));
	err("no mode", syscall(SYS_set_mempolicy, 77, &one, 65));
	err("interleave", syscall(SYS_set_mempolicy, 3, &one, 65));
	err("next node", syscall(SYS_get_mempolicy, &mode, 0, 0, 0, 1));
	say("is %d", mode);
	err("default", syscall(SYS_set_mempolicy, 0, 0, 0));
	char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*m = 1;
	err("mbind", syscall(SYS_mbind, m, 8192, 2, &one, 65, 0));
	err("mbind odd", syscall(SYS_mbind, m + 1, 8192, 2, &one, 65, 0));
	err("mbind flags", syscall(SYS_mbind, m, 8192, 2, &one, 65, 64));
	munmap(m + 4096, 4096);
	err("mbind a hole", syscall(SYS_mbind, m, 8192, 2, &one, 65, 0));
	err("node of memory", syscall(SYS_get_mempolicy, &mode, 0, 0, m, 3));
	say("is %d", mode);
	err("node of none", syscall(SYS_get_mempolicy, &mode, 0, 0, 4096, 3));
	err("flags", syscall(SYS_get_mempolicy, &mode, 0, 0, 0, 64));
	void *pages[] = {m, (void *)4096};
	int status[2] = {-1, -1};
	say("pages %ld", syscall(SYS_move_pages, 0, 2, pages, 0, status, 0));
	say("are on %d %d", status[0], status[1]);
	err("nobody's", syscall(SYS_migrate_pages, 1 << 21, 65, &one, &one));
}

static void pidfds(void)
{
	int p[2], ws;
	if (pipe(p) != 0)
		return;
	pid_t c = fork();
	if (c == 0) {
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(c, c);
	int fd = syscall(SYS_pidfd_open, c, 0);
	char b = 0;
	long got = syscall(SYS_pidfd_getfd, fd, p[1], 0);
	err("getfd", got);
	say("closes on exec %d", fcntl(got, F_GETFD));
	say("write %ld", (long)write(got, "z", 1));
	if (read(p[0], &b, 1) != 1)
		return;
	say("read %c", b);
	err("no descriptor", syscall(SYS_pidfd_getfd, fd, 999, 0));
	err("flags", syscall(SYS_pidfd_getfd, fd, 0, 1));
	err("no pidfd", syscall(SYS_pidfd_getfd, p[0], 0, 0));
	char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	struct iovec v[2] = {{m, 4096}, {m + 4096, 4096}};
	say("madvise %ld", syscall(SYS_process_madvise, self, v, 2, MADV_COLD, 0));
	err("madvise flags", syscall(SYS_process_madvise, self, v, 2, MADV_COLD, 1));
	err("madvise of nothing that is", syscall(SYS_process_madvise, self, v, 2, 999, 0));
	err("no release of who lives", syscall(SYS_process_mrelease, fd, 0));
	err("signal 0 to the thread", syscall(SYS_pidfd_send_signal, fd, 0, 0, 1));
	err("two at once", syscall(SYS_pidfd_send_signal, fd, 0, 0, 3));
	err("no such flag", syscall(SYS_pidfd_send_signal, fd, 0, 0, 8));
	err("to its group", syscall(SYS_pidfd_send_signal, fd, SIGTERM, 0, 4));
	waitpid(c, &ws, 0);
	status("child", ws);
	err("getfd of the dead", syscall(SYS_pidfd_getfd, fd, 0, 0));
	c = fork();
	if (c == 0) {
		setuid(1000);
		fd = syscall(SYS_pidfd_open, getppid(), 0);
		err("somebody else's", syscall(SYS_pidfd_getfd, fd, 0, 0));
		_exit(0);
	}
	waitpid(c, &ws, 0);
}

const struct row calls_rows[] = {
	{"calls.refused", refused}, {"calls.numa", numa}, {"calls.pidfds", pidfds},
	{"calls.on-time", on_time},
	{"calls.thread-clock", thread_clock},
	{"calls.membarrier", barriers}, {"calls.kcmp", compare}, {"calls.ioprio", ioprio}, {"calls.getcpu", processor}, {0, 0},
};
