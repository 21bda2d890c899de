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

const struct row cputime_rows[] = {
	{"cputime.affinity", affinity},
	{"cputime.timers", timers},
	{"cputime.clocks", clocks},
	{"cputime.limit", limit},
	{0, 0},
};
