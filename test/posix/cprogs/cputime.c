#include "cprogs.h"

static volatile sig_atomic_t rang;
static void ring(int sig) { rang = sig; }

static long used(clockid_t id)
{
	struct timespec t = {0};
	clock_gettime(id, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void burn(long ms)
{
	long until = used(CLOCK_PROCESS_CPUTIME_ID) + ms;
	while (used(CLOCK_PROCESS_CPUTIME_ID) < until && !rang)
		;
}

static void timers(void)
{
	int sigs[] = {SIGVTALRM, SIGPROF};
	int which[] = {ITIMER_VIRTUAL, ITIMER_PROF};
	for (int i = 0; i < 2; i++) {
		signal(sigs[i], ring);
		rang = 0;
		setitimer(which[i], &(struct itimerval){{0, 0}, {0, 60000}}, 0);
		msleep(150);
		struct itimerval left;
		getitimer(which[i], &left);
		say("asleep %d, left %d", (int)rang, left.it_value.tv_usec > 20000);
		burn(3000);
		say("busy %d", rang == sigs[i]);
	}
	clockid_t ids[3] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
	err("clock id", clock_getcpuclockid(0, &ids[2]) ? -1 : 0);
	signal(SIGUSR1, ring);
	for (int i = 0; i < 3; i++) {
		timer_t id;
		struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
		err("create", timer_create(ids[i], &ev, &id));
		rang = 0;
		timer_settime(id, 0, &(struct itimerspec){{0, 0}, {0, 60000000}}, 0);
		msleep(150);
		say("asleep %d", (int)rang);
		burn(3000);
		say("busy %d", rang == SIGUSR1);
		timer_delete(id);
	}
}

static void *idle(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

static void clocks(void)
{
	clockid_t id;
	pid_t p = fork();
	if (p == 0) {
		signal(SIGUSR1, ring);
		burn(100);
		kill(getppid(), SIGUSR1);
		pause();
		_exit(0);
	}
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, 0);
	int sig;
	sigwait(&s, &sig);
	say("of a child %d", clock_getcpuclockid(p, &id));
	say("used %d", used(id) >= 95 && used(id) < 2000);
	kill(p, SIGKILL);
	wait(0);
	say("of nobody %s", strerrorname_np(clock_getcpuclockid(p, &id)));
	pthread_t t;
	pthread_create(&t, 0, idle, 0);
	say("of a thread %d", pthread_getcpuclockid(t, &id));
	struct timespec ts;
	err("read", clock_gettime(id, &ts));
	err("resolution", clock_getres(id, &ts));
	err("of init's thread", clock_gettime(~1 << 3 | 6, &ts));
	err("bad kind", clock_gettime(~getpid() << 3 | 3, &ts));
	err("set", clock_settime(CLOCK_PROCESS_CPUTIME_ID, &ts));
}

static void count(int sig)
{
	(void)sig;
	rang++;
}

static void limit(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t p = fork();
		if (p == 0) {
			if (i == 1)
				signal(SIGXCPU, count);
			err("limit", setrlimit(RLIMIT_CPU, &(struct rlimit){1, 2 + !i}));
			if (i == 1 && fork() == 0) {
				msleep(300);
				_exit(0);
			}
			for (;;)
				;
		}
		int ws;
		waitpid(p, &ws, 0);
		status(i ? "hard" : "soft", ws);
	}
}

static void affinity(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	err("set", sched_setaffinity(0, sizeof set, &set));
	fflush(stdout);
	if (system("grep Cpus_allowed /proc/self/status") != 0)
		_exit(1);
}

static _Atomic int burning = 1;
static _Atomic pid_t busy_tid, idle_tid;

static void *busy(void *arg)
{
	busy_tid = syscall(SYS_gettid);
	while (burning)
		;
	return arg;
}

static void *asleep(void *arg)
{
	idle_tid = syscall(SYS_gettid);
	while (burning)
		msleep(5);
	return arg;
}

/* stat_time is utime and stime of /proc/self/task/TID/stat, in milliseconds. */
static long stat_time(pid_t tid)
{
	char name[64], line[1024] = "";
	snprintf(name, sizeof name, "/proc/self/task/%d/stat", tid);
	int fd = open(name, O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof line - 1) <= 0)
		return -1;
	close(fd);
	char *p = strrchr(line, ')');
	long u = 0, s = 0;
	sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &u, &s);
	return (u + s) * 10;
}

static void of_threads(void)
{
	pthread_t a, b;
	clockid_t ca, cb;
	pthread_create(&a, 0, busy, 0);
	pthread_create(&b, 0, asleep, 0);
	while (busy_tid == 0 || idle_tid == 0)
		sched_yield();
	pthread_getcpuclockid(a, &ca);
	pthread_getcpuclockid(b, &cb);
	for (int i = 0; i < 200 && used(ca) < 150; i++)
		msleep(20);
	say("the busy one's clock %d, the idle one's %d, this one's %d", used(ca) >= 150, used(cb) < 100, used(CLOCK_THREAD_CPUTIME_ID) < 100);
	say("by /proc: the busy one's %d, the idle one's %d", stat_time(busy_tid) >= 120, stat_time(idle_tid) < 100);
	say("the process's %d", used(CLOCK_PROCESS_CPUTIME_ID) >= 150);
	burning = 0;
	pthread_join(a, 0);
	pthread_join(b, 0);
}

/* field is a line of /proc/self/status, in kB. */
static long field(const char *file, const char *name)
{
	char text[65536];
	int fd = open(file, O_RDONLY), n = 0, r;
	while (n < (int)sizeof text - 1 && (r = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += r;
	text[n > 0 ? n : 0] = 0;
	close(fd);
	char *p = strstr(text, name);
	return p ? atol(p + strlen(name)) : -1;
}

static long statm(void)
{
	char text[256] = "";
	int fd = open("/proc/self/statm", O_RDONLY);
	if (read(fd, text, sizeof text - 1) <= 0)
		return -1;
	close(fd);
	long size, resident = -1;
	sscanf(text, "%ld %ld", &size, &resident);
	return resident * 4;
}

static void resident(void)
{
	const long n = 24 << 20;
	long before = statm();
	say("something at first %d", before > 100 && before < 8000);
	char *m = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(m, n, MADV_NOHUGEPAGE);
	long mapped = statm();
	say("mapping is not touching %d", mapped - before < 512);
	memset(m, 1, n / 2);
	long touched = statm();
	say("half of it %d", touched - before > 11000 && touched - before < 14000);
	say("VmRSS too %d", labs(field("/proc/self/status", "VmRSS:") - touched) < 1024);
	say("RssAnon %d", field("/proc/self/status", "RssAnon:") > 11000);
	say("smaps_rollup %d", labs(field("/proc/self/smaps_rollup", "Rss:") - touched) < 1024);
	madvise(m, n, MADV_DONTNEED);
	say("given back %d", statm() - before < 1024);
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	say("the most that there was %d", u.ru_maxrss > 11000 && u.ru_maxrss < 40000);
	pid_t p = fork();
	if (p == 0) {
		memset(m, 1, n);
		_exit(0);
	}
	int ws;
	wait4(p, &ws, 0, &u);
	say("a child's %d, its faults %d", u.ru_maxrss > 24000 && u.ru_maxrss < 60000, u.ru_minflt > 1000);
}

const struct row cputime_rows[] = {
	{"cputime.affinity", affinity},
	{"cputime.timers", timers},
	{"cputime.clocks", clocks},
	{"cputime.limit", limit},
	{"cputime.of-threads", of_threads}, {"cputime.resident", resident}, {0, 0},
};
