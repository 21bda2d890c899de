#include "cprogs.h"

#include <sys/ptrace.h>

/*
 * Short sleeps, at sites that have been called often: what signals leave of them, and who
 * else looks on.
 */

enum { HOT = 60, SHORT = 900000, SLACK = 200000 /* ns, of a busy host's clocks */ };

static volatile long ticks;

static void tick(int sig)
{
	ticks += sig == SIGALRM || sig == SIGUSR1;
}

/* nap sleeps once, at one site for all, and says how the call went. */
__attribute__((noinline)) static int nap(const struct timespec *t, struct timespec *rem)
{
	return syscall(SYS_nanosleep, t, rem);
}

__attribute__((noinline)) static int nap_by(int clock, int flags, const struct timespec *t, struct timespec *rem)
{
	return syscall(SYS_clock_nanosleep, clock, flags, t, rem);
}

static void hot(void)
{
	struct timespec t = {0, 20000};
	long bad = 0;
	for (int i = 0; i < HOT; i++)
		bad += nap(&t, 0) != 0 || nap_by(CLOCK_MONOTONIC, 0, &t, 0) != 0;
	say("hot, bad %ld", bad);
}

static long since(struct timespec a)
{
	struct timespec b;
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
}

/* made_up sleeps SHORT, whatever ends the sleeps on the way; how is 1 for one by a clock.
 * What is wrong is counted. */
static long made_up(int how, long *ended)
{
	struct timespec begin, t = {0, SHORT};
	long bad = 0;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while ((how ? nap_by(CLOCK_REALTIME, 0, &t, &t) : nap(&t, &t)) != 0) {
		++*ended;
		/* What is left may be more by the timer's slack. */
		bad += errno != EINTR || t.tv_sec != 0 || t.tv_nsec < 0 || t.tv_nsec > SHORT + 1000000;
	}
	return bad + (since(begin) < SHORT - SLACK);
}

/* Signals end sleeps, which are then made up to their length by what is left. */
static void timer(void)
{
	long bad = 0, ended = 0, until = now() + 30000;
	hot();
	signal(SIGALRM, tick);
	struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &often, 0);
	for (int i = 0; (ended < 100 || ticks < 100) && now() < until; i++)
		bad += made_up(i & 1, &ended);
	setitimer(ITIMER_REAL, &never, 0);
	say("signals end some %d, wrong %ld", ended >= 100 && ticks >= 100, bad);
}

/* What cannot be slept, by a site that is hot. */
static void refused(void)
{
	struct timespec t = {0, -1};
	hot();
	err("no time", nap(0, 0));
	err("nowhere", nap((void *)8, 0));
	err("the kernel's", nap((void *)0x7fffffffffff, 0));
	err("before now", nap(&t, 0));
	t = (struct timespec){0, 1000000000};
	err("too many", nap(&t, 0));
	t = (struct timespec){-1, 5};
	err("before that", nap(&t, 0));
	t = (struct timespec){0, 0};
	err("none", nap(&t, 0));
	t = (struct timespec){0, 1};
	err("one", nap(&t, (void *)8)); /* nobody writes there */
	err("by no clock", nap_by(99, 0, &t, 0));
	err("by a thread's", nap_by(CLOCK_THREAD_CPUTIME_ID, 0, &t, 0));
	err("until 1970", nap_by(CLOCK_REALTIME, TIMER_ABSTIME, &t, 0));
	err("by another", nap_by(CLOCK_BOOTTIME, 0, &t, 0));
	void *edge = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	err("half of one", nap(edge + 4088, 0));
}

static volatile int stop;
static long rounds[2], wrong[2], cut[2];

static void *naps(void *arg)
{
	for (int i = (long)arg; !stop; rounds[i]++)
		wrong[i] += made_up(rounds[i] & 1, &cut[i]);
	return 0;
}

/* Two threads that sleep, and signals for both; meanwhile others come, fork and go. */
static void threads(void)
{
	pthread_t t[2];
	hot();
	struct sigaction a = {.sa_handler = tick, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &a, 0);
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], 0, naps, (void *)i);
	int ws, lost = 0;
	long until = now() + 30000;
	for (int i = 0; (cut[0] < 50 || cut[1] < 50 || i < 20) && now() < until; i++) {
		pthread_kill(t[0], SIGUSR1);
		pthread_kill(t[1], SIGUSR1);
		if (i % 10 == 0) {
			int c = fork();
			if (c == 0) {
				struct timespec s = {0, 1000};
				_exit(nap(&s, 0) == 0 ? 7 : 8);
			}
			waitpid(c, &ws, 0);
			lost += WEXITSTATUS(ws) != 7;
		}
	}
	stop = 1;
	pthread_join(t[0], 0);
	pthread_join(t[1], 0);
	say("cut short %d, wrong %ld, children lost %d", cut[0] >= 50 && cut[1] >= 50, wrong[0] + wrong[1], lost);
}

/* A child that sleeps and sleeps is stopped and goes on, is seen asleep, and is killed. */
static void stopped(void)
{
	volatile long *round = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ws, c = fork();
	if (c == 0) {
		struct timespec t = {0, 5000000};
		hot();
		while (nap(&t, 0) == 0)
			++*round;
		_exit(1);
	}
	until_asleep(c);
	say("asleep");
	long bad = 0;
	for (int i = 0; i < 20; i++) {
		long was = *round, until = now() + 20000;
		while (*round == was && now() < until)
			sched_yield();
		bad += *round == was;
		kill(c, SIGSTOP);
		bad += waitpid(c, &ws, WUNTRACED) != c || !WIFSTOPPED(ws);
		was = *round;
		msleep(7);
		bad += *round != was;
		kill(c, SIGCONT);
		bad += waitpid(c, &ws, WCONTINUED) != c || !WIFCONTINUED(ws);
	}
	kill(c, SIGTERM);
	waitpid(c, &ws, 0);
	status("child", ws);
	say("bad %ld", bad);
}

/* Who attaches sees each of them. */
static void traced(void)
{
	int ws, c = fork();
	if (c == 0) {
		struct timespec t = {0, 2000000};
		hot();
		for (;;)
			nap(&t, 0);
	}
	until_asleep(c);
	long bad = ptrace(PTRACE_SEIZE, c, 0, PTRACE_O_TRACESYSGOOD) != 0;
	ptrace(PTRACE_INTERRUPT, c, 0, 0);
	bad += waitpid(c, &ws, 0) != c || ws >> 16 != PTRACE_EVENT_STOP;
	int stops = 0;
	for (int i = 0; i < 12; i++) {
		ptrace(PTRACE_SYSCALL, c, 0, 0);
		if (waitpid(c, &ws, 0) != c || !WIFSTOPPED(ws))
			break;
		stops += WSTOPSIG(ws) == (SIGTRAP | 0x80);
	}
	ptrace(PTRACE_DETACH, c, 0, 0);
	until_asleep(c);
	kill(c, SIGKILL);
	waitpid(c, &ws, 0);
	status("child", ws);
	say("stops %d, bad %ld", stops, bad);
}

/* A thread that sleeps does not keep its process from ending, or from running another
 * program; and a long slack is the thread's. */
static void ends(void)
{
	int ws;
	for (int how = 0; how < 2; how++) {
		int c = fork();
		if (c == 0) {
			pthread_t t;
			hot();
			fflush(stdout);
			pthread_create(&t, 0, naps, 0);
			struct timespec s = {0, 3000000};
			nap(&s, 0);
			if (how)
				execl("/bin/true", "true", (char *)0);
			exit(3);
		}
		waitpid(c, &ws, 0);
		status(how ? "exec" : "exit", ws);
	}
	hot();
	prctl(PR_SET_TIMERSLACK, 40000000);
	struct timespec a, t = {0, 1000000};
	int late = 0;
	for (int i = 0; i < 10; i++) {
		clock_gettime(CLOCK_MONOTONIC, &a);
		nap(&t, 0);
		late += since(a) < 1000000;
	}
	say("too early %d, slack %d", late, prctl(PR_GET_TIMERSLACK));
	prctl(PR_SET_TIMERSLACK, 0);
	hot();
}

const struct row naps_rows[] = {
	{"naps.timer", timer}, {"naps.refused", refused}, {"naps.threads", threads},
	{"naps.stopped", stopped}, {"naps.traced", traced}, {"naps.ends", ends}, {0, 0},
};
