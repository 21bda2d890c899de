/*
 * What calls answer at the boundaries of what they take: those that test suites
 * written for Linux look at.
 */
#include "cprogs.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/timex.h>

#define PAGE 4096
#define NOWHERE ((void *)-1L) /* an address that no program can have */

/* make_file makes a file of the given text and mode. */
static void make_file(const char *name, const char *text, mode_t mode)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0700);
	if (write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		err(name, -1);
	close(fd);
}

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	ssize_t n;
	int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0755);
	while ((n = read(in, buf, sizeof buf)) > 0)
		if (write(out, buf, n) != n)
			err(to, -1);
	close(in);
	close(out);
}

/* run executes a program and tells how that ended. */
static void run(const char *what, const char *path, char *const argv[])
{
	pid_t pid = fork();
	if (pid == 0) {
		execv(path, argv);
		err(what, -1);
		_exit(9);
	}
	int ws;
	waitpid(pid, &ws, 0);
	status(what, ws);
}

/* A program that runs cannot be written to, nor what is open for that be run. */
static void text_busy(void)
{
	char *argv[] = {"true", "60", NULL};
	copy_file("/bin/sleep", "program");
	copy_file("/bin/true", "other");
	int w = open("other", O_WRONLY);
	run("open for writing", "./other", argv);
	int r = open("other", O_RDONLY);
	close(w);
	run("open for reading", "./other", argv);
	close(r);
	make_file("script", "#!./other\n", 0755);
	w = open("script", O_WRONLY);
	run("script open for writing", "./script", argv);
	close(w);
	w = open("other", O_RDWR);
	run("interpreter open for writing", "./script", argv);
	close(w);
	run("script", "./script", argv);

	int ready[2];
	pipe2(ready, O_CLOEXEC);
	pid_t pid = fork();
	if (pid == 0) {
		execv("./program", argv);
		_exit(9);
	}
	close(ready[1]);
	char c;
	read(ready[0], &c, 1); /* its end: the program runs */
	err("write", open("program", O_WRONLY));
	err("read and write", open("program", O_RDWR));
	err("truncate on opening", open("program", O_RDONLY | O_TRUNC));
	err("truncate", truncate("program", 0));
	err("read", open("program", O_RDONLY));
	err("link", link("program", "linked"));
	err("write to the link", open("linked", O_WRONLY));
	err("chmod", chmod("program", 0700));
	err("unlink", unlink("program"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	err("write when it has ended", open("linked", O_WRONLY));
}

/* Scripts with odd first lines, and programs found by descriptors. */
static void exec_edges(void)
{
	char *argv[] = {"zero", "one", NULL};
	make_file("bare", "#!", 0755);
	run("#! alone", "./bare", argv);
	make_file("line", "#!\n", 0755);
	run("#! and a line's end", "./line", argv);
	make_file("args", "#!/bin/echo  a b  \n", 0755);
	run("an argument", "./args", argv);
	char text[400];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	memcpy(text, "#!/bin/echo ", 12);
	make_file("long", text, 0755);
	run("a long argument", "./long", argv);
	memset(text + 3, 'y', sizeof text - 4);
	make_file("cut", text, 0755);
	run("a long interpreter", "./cut", argv);

	make_file("script", "#!/bin/sh\necho script $1\n", 0755);
	for (int flags = 0; flags <= O_CLOEXEC; flags += O_CLOEXEC) {
		pid_t pid = fork();
		if (pid == 0) {
			int fd = dup3(open("script", O_RDONLY | O_CLOEXEC), 100, flags);
			syscall(SYS_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
			err("script by descriptor", -1);
			_exit(9);
		}
		int ws;
		waitpid(pid, &ws, 0);
		status("execveat", ws);
	}
}

/* Flags, offsets and addresses of descriptors. */
static void descriptors(void)
{
	char buf[256];
	int f = open("file", O_CREAT | O_RDWR, 0600);
	err("read to nowhere", read(f, NOWHERE, 1));
	err("read nothing to nowhere", read(f, NOWHERE, 0));
	volatile size_t most = -1; /* so that the compiler does not look at it */
	err("read too much", read(f, buf, most));
	err("write from nowhere", write(f, NOWHERE, 1));
	int p[2];
	pipe(p);
	err("read an empty pipe to nowhere", read(p[0], NOWHERE, 1));
	err("write at the last offset", pwrite(f, buf, 1, LONG_MAX));
	err("allocate past all files", fallocate(f, 0, LONG_MAX - 1, 10));
	fcntl(f, F_SETFL, -1);
	say("flags %#x", fcntl(f, F_GETFL) & O_ASYNC);
	int on = 1;
	err("FIOASYNC of a file", ioctl(f, FIOASYNC, &on));
	err("FIOASYNC of a pipe", ioctl(p[0], FIOASYNC, &on));
	say("position of an eventfd %ld", (long)lseek(eventfd(0, 0), 5, SEEK_SET));
	say("of a timerfd %ld", (long)lseek(timerfd_create(CLOCK_MONOTONIC, 0), 5, SEEK_SET));
	say("of an epoll %ld", (long)lseek(epoll_create(1), 5, SEEK_SET));
	say("of an inotify %ld", (long)lseek(inotify_init(), 5, SEEK_SET));
	sigset_t set;
	sigemptyset(&set);
	say("of a signalfd %ld", (long)lseek(signalfd(-1, &set, 0), 5, SEEK_SET));

	int m = syscall(SYS_memfd_create, "sealed", 8 /* MFD_NOEXEC_SEAL */);
	if (m >= 0) {
		err("make it executable", fchmod(m, 0777));
		err("other bits", fchmod(m, 0600));
		say("seals %#x", fcntl(m, F_GET_SEALS));
	}
}

/* Timers and clocks. */
static void clocks(void)
{
	struct timespec t = {1, 0}, bad = {0, -1};
	struct itimerspec once = {{0, 0}, {0, 1}};
	int id;
	err("set CLOCK_MONOTONIC", syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t));
	err("set CLOCK_TAI", syscall(SYS_clock_settime, CLOCK_TAI, &t));
	err("set no time", syscall(SYS_clock_settime, CLOCK_REALTIME, &bad));
	err("settimeofday from nowhere", syscall(SYS_settimeofday, NOWHERE, NULL));
	err("timer of CLOCK_MONOTONIC_RAW", syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, NULL, &id));
	err("timer of CLOCK_REALTIME_COARSE", syscall(SYS_timer_create, CLOCK_REALTIME_COARSE, NULL, &id));
	err("sleep by CLOCK_MONOTONIC_COARSE", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &t, NULL));
	err("sleep by a thread's time", syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL));
	syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &id);
	err("timer_settime without", syscall(SYS_timer_settime, id, 0, NULL, NULL));

	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	uint64_t n = 3;
	timerfd_settime(fd, 0, &once, NULL);
	msleep(5);
	if (ioctl(fd, _IOW('T', 0, uint64_t), &n) == -1 && errno == ENOTTY)
		n = 3; /* a kernel without CONFIG_CHECKPOINT_RESTORE */
	else if (read(fd, &n, 8) != 8)
		err("read", -1);
	say("expiries %lu", (unsigned long)n);

	struct timex tx = {.modes = ADJ_TICK, .tick = 1};
	err("adjtimex with no tick", adjtimex(&tx));
	setuid(1);
	tx.modes = ADJ_TICK;
	err("by somebody else", adjtimex(&tx));
}

/* Policies of scheduling. */
static void scheduling(void)
{
	struct sched_param five = {5}, none = {0};
	struct timespec t;
	if (sched_setscheduler(0, SCHED_FIFO, &five) == 0) { /* not everywhere may root */
		if (sched_rr_get_interval(0, &t) != 0 || t.tv_sec != 0 || t.tv_nsec != 0)
			say("SCHED_FIFO has a slice of %ld", t.tv_nsec);
		sched_setscheduler(0, SCHED_RR, &five);
		if (sched_rr_get_interval(0, &t) != 0 || (t.tv_sec == 0 && t.tv_nsec == 0))
			say("SCHED_RR has no slice");
		sched_setscheduler(0, SCHED_OTHER, &none);
	}
	struct rlimit low = {0, 0};
	setrlimit(RLIMIT_NICE, &low);
	setrlimit(RLIMIT_RTPRIO, &low);
	setuid(1);
	err("SCHED_FIFO", sched_setscheduler(0, SCHED_FIFO, &five));
	err("SCHED_BATCH", sched_setscheduler(0, SCHED_BATCH, &none));
	err("SCHED_IDLE", sched_setscheduler(0, SCHED_IDLE, &none));
	err("back", sched_setscheduler(0, SCHED_OTHER, &none));
	errno = 0;
	err("nice", nice(-1));
}

/* SCHED_DEADLINE, as far as a call tells. */
static void deadline(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} a = {.size = 48, .policy = 6, .runtime = 10000000, .deadline = 30000000, .period = 30000000}, got;
	a.deadline = 0;
	err("no deadline", syscall(SYS_sched_setattr, 0, &a, 0));
	a.deadline = 5000000;
	err("runtime above it", syscall(SYS_sched_setattr, 0, &a, 0));
	a.deadline = 40000000;
	err("period below it", syscall(SYS_sched_setattr, 0, &a, 0));
	a.deadline = 30000000;
	a.runtime = 100;
	err("too short", syscall(SYS_sched_setattr, 0, &a, 0));
	a.runtime = 10000000;
	a.priority = 1;
	err("with a priority", syscall(SYS_sched_setattr, 0, &a, 0));
	a.priority = 0;
	if (syscall(SYS_sched_setattr, 0, &a, 0) == 0) { /* not everywhere may root */
		syscall(SYS_sched_getattr, 0, &got, sizeof got, 0);
		if (sched_getscheduler(0) != 6 || got.runtime != a.runtime || got.deadline != a.deadline || got.period != a.period)
			say("policy %d", sched_getscheduler(0));
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid != -1 || errno != EAGAIN)
			err("fork", pid);
		a.policy = SCHED_OTHER;
		syscall(SYS_sched_setattr, 0, &a, 0);
	}
	a.policy = 6;
	setuid(1);
	err("by somebody else", syscall(SYS_sched_setattr, 0, &a, 0));
}

/* awaits waits until a process sleeps. */
static void awaits(pid_t pid)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	for (;;) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof text - 1);
		close(fd);
		text[n > 0 ? n : 0] = 0;
		char *end = strrchr(text, ')');
		if (end && end[2] == 'S')
			return;
		msleep(1);
	}
}

/* What a stop does to calls that wait: signal(7), "Interruption of system calls and
   library functions by stop signals". */
static void stopped(void)
{
	int p[2], queue = msgget(IPC_PRIVATE, 0600);
	struct {
		long type;
		char text[8];
	} message = {1, "hello"};
	pipe(p);
	for (int which = 0; which < 3; which++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct pollfd f = {p[0], POLLIN, 0};
			switch (which) {
			case 0:
				say("poll %d", poll(&f, 1, -1));
				break;
			case 1:
				say("poll with time %d", poll(&f, 1, 60000));
				break;
			case 2:
				say("msgrcv %zd", msgrcv(queue, &message, sizeof message.text, 0, 0));
			}
			_exit(0);
		}
		int ws;
		awaits(pid);
		kill(pid, SIGSTOP);
		waitpid(pid, &ws, WUNTRACED);
		status("stopped", ws);
		kill(pid, SIGCONT);
		waitpid(pid, &ws, WCONTINUED);
		status("goes on", ws);
		awaits(pid);
		if (which < 2 ? write(p[1], "x", 1) != 1 : msgsnd(queue, &message, sizeof message.text, 0) != 0)
			err("send", -1);
		waitpid(pid, &ws, 0);
		status("ended", ws);
		char c;
		if (which < 2)
			read(p[0], &c, 1);
	}
	msgctl(queue, IPC_RMID, NULL);
}

/* Ways of clone and waitid. */
static void processes(void)
{
	siginfo_t info;
	pid_t pid = syscall(SYS_clone, 200, 0, 0, 0, 0);
	if (pid == 0)
		_exit(3);
	err("wait for a child without a signal", waitpid(pid, NULL, 0));
	int ws = -1;
	waitpid(pid, &ws, __WALL);
	status("__WALL", ws);
	char args[8192] = {0};
	err("clone3 of too much", syscall(SYS_clone3, args, 5000));
	err("clone3 of too little", syscall(SYS_clone3, args, 63));
	err("waitid of no descriptor", waitid(3 /* P_PIDFD */, -1, &info, WEXITED));
	err("of a closed one", waitid(3, 999, &info, WEXITED));

	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} all = {SIG_IGN, ~0ul, NULL, ~0ul}, got;
	syscall(SYS_rt_sigaction, SIGUSR1, &all, NULL, 8);
	syscall(SYS_rt_sigaction, SIGUSR1, NULL, &got, 8);
	say("flags %#lx mask %#lx", got.flags, got.mask);
	err("action of SIGKILL from nowhere", syscall(SYS_rt_sigaction, SIGKILL, NOWHERE, NULL, 8));
}

#define RW (PROT_READ | PROT_WRITE)
#define MEMORY (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map(size_t n)
{
	return mmap(NULL, n, RW, MEMORY, -1, 0);
}

/* tell prints the outcome of a call that gives an address. */
static void tell(const char *what, void *p) { err(what, p == MAP_FAILED ? -1 : 0); }

static void mapping(void)
{
	int f = open("file", O_CREAT | O_RDWR, 0600);
	ftruncate(f, PAGE);
	tell("shared and private", mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
	tell("validated", mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE, f, 0));
	tell("unknown flag, validated", mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | 0x800000, f, 0));
	tell("unknown flag", mmap(NULL, PAGE, RW, MAP_SHARED | 0x800000, f, 0));
	tell("MAP_SYNC", mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | 0x80000, f, 0));
	char *p = map(4 * PAGE);
	mprotect(p + PAGE, PAGE, PROT_READ);
	tell("shrink several mappings", mremap(p, 4 * PAGE, PAGE, 0));
	p = map(4 * PAGE);
	mprotect(p + PAGE, PAGE, PROT_READ);
	tell("grow several mappings", mremap(p, 2 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	tell("leave one behind, at no page", mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, p + 1));
	tell("leave one behind", mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
}

static void memory_limits(void)
{
	void *heap = sbrk(0);
	struct rlimit data = {64 << 20, 64 << 20}, size = {400 << 20, 400 << 20};
	setrlimit(RLIMIT_DATA, &data);
	tell("data", map(128 << 20));
	tell("to read", mmap(NULL, 128 << 20, PROT_READ, MEMORY, -1, 0));
	tell("shared", mmap(NULL, 128 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	tell("a little data", map(1 << 20));
	say("brk %d", syscall(SYS_brk, heap + (128 << 20)) == (long)heap);
	data.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_AS, &size);
	tell("too much", map(500 << 20));
	char *p = map(PAGE);
	tell("to grow to too much", mremap(p, PAGE, 500 << 20, MREMAP_MAYMOVE));
	say("brk %d", syscall(SYS_brk, heap + (500 << 20)) == (long)heap);
}

/* locked says how many kB status has of locked memory. */
static int locked(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	int kb = -1;
	while (fgets(line, sizeof line, f))
		sscanf(line, "VmLck: %d", &kb);
	fclose(f);
	return kb;
}

static void locking(void)
{
	char *p = map(8 * PAGE);
	unsigned char in[8] = {0};
	munmap(p + 6 * PAGE, PAGE);
	err("lock", mlock(p + 1, 2 * PAGE));
	mincore(p, 4 * PAGE, in);
	say("in memory %d%d%d%d, locked %d", in[0] & 1, in[1] & 1, in[2] & 1, in[3] & 1, locked());
	err("twice", mlock(p, PAGE));
	err("on fault", syscall(SYS_mlock2, p + 4 * PAGE, PAGE, 1));
	err("mlock2 of another flag", syscall(SYS_mlock2, p, PAGE, 2));
	err("up to a hole", mlock(p + 5 * PAGE, 2 * PAGE));
	err("everything there is", mlock(p, -1));
	say("locked %d", locked());
	err("unlock", munlock(p, PAGE));
	munmap(p + PAGE, PAGE);
	say("locked %d", locked());
	pid_t pid = fork();
	if (pid == 0) {
		say("locked by a child %d", locked());
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	err("MCL_ONFAULT alone", mlockall(MCL_ONFAULT));
	err("nothing", mlockall(0));
	err("munlockall", munlockall());
	say("locked %d", locked());

	int f = open("file", O_CREAT | O_RDWR, 0600);
	ftruncate(f, PAGE);
	char *q = mmap(NULL, PAGE, RW, MAP_SHARED, f, 0);
	mlock(q, PAGE);
	err("invalidate what is locked", msync(q, PAGE, MS_INVALIDATE));
	munlockall();
	err("invalidate", msync(q, PAGE, MS_INVALIDATE));

	struct rlimit two = {2 * PAGE, 2 * PAGE}, zero = {0, 0};
	setrlimit(RLIMIT_MEMLOCK, &two);
	setuid(1);
	p = map(8 * PAGE);
	err("one page", mlock(p, PAGE));
	err("two with the one", mlock(p, 2 * PAGE));
	err("one more", mlock(p + 2 * PAGE, PAGE));
	tell("mapped locked", mmap(NULL, PAGE, RW, MEMORY | MAP_LOCKED, -1, 0));
	tell("grown", mremap(p + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	err("all", mlockall(MCL_CURRENT));
	err("all to come", mlockall(MCL_FUTURE));
	munlock(p, PAGE);
	tell("then mapped", map(2 * PAGE));
	tell("one page mapped", map(PAGE));
	munlockall();
	setrlimit(RLIMIT_MEMLOCK, &zero);
	err("nobody", mlock(p, PAGE));
	err("nobody all", mlockall(MCL_FUTURE));
	tell("mapped locked by nobody", mmap(NULL, PAGE, RW, MEMORY | MAP_LOCKED, -1, 0));
	err("unlocked by nobody", munlock(p, PAGE));
}

/* name tries to name a page. */
static void name(const char *what, void *at, size_t n, const char *text)
{
	err(what, prctl(0x53564d41 /* PR_SET_VMA */, 0, at, n, text));
}

static void named(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	while (fgets(line, sizeof line, f)) {
		char *at = strstr(line, "[anon");
		if (at)
			say("  %.*s", (int)strcspn(at, "\n"), at);
	}
	fclose(f);
}

/* Names of anonymous memory. Not every host's kernel has them (CONFIG_ANON_VMA_NAME), so
   what comes of it is in posix_test.go. */
static void names(void)
{
	char *p = map(4 * PAGE), *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), text[100];
	memset(text, 'q', sizeof text);
	text[79] = 0;
	name("a page", p + PAGE, PAGE, "my page");
	name("shared", s, PAGE, "ours");
	named();
	name("the longest", p + 2 * PAGE, PAGE, text);
	text[79] = 'q', text[80] = 0;
	name("too long", p, PAGE, text);
	name("brackets", p, PAGE, "a[b]");
	name("no text", p, PAGE, NOWHERE);
	name("no page", p + 1, PAGE, "x");
	name("nothing", p, 0, "x");
	mprotect(p + PAGE, PAGE, PROT_READ);
	named();
	name("none", p, 4 * PAGE, NULL);
	named();
	munmap(p + PAGE, PAGE);
	name("across a hole", p, 3 * PAGE, "both");
	named();
	int f = open("file", O_CREAT | O_RDWR, 0600);
	ftruncate(f, PAGE);
	name("a file", mmap(NULL, PAGE, RW, MAP_SHARED, f, 0), PAGE, "x");
}

const struct row boundary_rows[] = {
	{"+names", names},
	{"boundary.text-busy", text_busy},
	{"boundary.exec", exec_edges},
	{"boundary.descriptors", descriptors},
	{"boundary.clocks", clocks},
	{"boundary.scheduling", scheduling},
	{"boundary.deadline", deadline},
	{"boundary.stopped", stopped},
	{"boundary.processes", processes},
	{"boundary.mapping", mapping},
	{"boundary.limits", memory_limits},
	{"boundary.locking", locking},
	{NULL, NULL},
};
