/* Owners of files, F_SETOWN in fcntl(2): whoever makes a file ready for an owner that it
 * asked for, has the signal there when its call returns. */
#include "cprogs.h"

#include <sys/socket.h>

enum { ROUNDS = 100, SIGNAL = 40 /* a queued one */ };

static int pipes(int p[2])
{
	int q[2];
	if (pipe(q))
		return -1;
	p[0] = q[1], p[1] = q[0];
	return 0;
}

static int streams(int p[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM, 0, p);
}

static int datagrams(int p[2])
{
	return socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
}

/* Kinds of files: what is written to the first can be read from the second. */
static const struct {
	const char *name;
	int (*make)(int p[2]);
} kinds[] = {{"pipe", pipes}, {"stream", streams}, {"datagrams", datagrams}};

enum { KINDS = sizeof kinds / sizeof *kinds };

static void put(int fd)
{
	if (write(fd, "x", 1) != 1)
		say("write: %s", strerror(errno));
}

/* blocked are the signals of the tests, which stay pending. */
static sigset_t blocked(void)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGURG);
	sigaddset(&s, SIGIO);
	sigaddset(&s, SIGNAL);
	sigprocmask(SIG_BLOCK, &s, 0);
	return s;
}

/* missed says whether a signal is not pending, and takes all that are. */
static int missed(const sigset_t *all, int sig)
{
	sigset_t pending;
	sigpending(&pending);
	while (sigtimedwait(all, 0, &(struct timespec){0}) > 0)
		;
	return !sigismember(&pending, sig);
}

/* The owner writes itself. */
static void told(void)
{
	sigset_t all = blocked();
	for (int k = 0; k < KINDS; k++) {
		int n = 0;
		for (int i = 0; i < ROUNDS; i++) {
			int p[2];
			kinds[k].make(p);
			fcntl(p[1], F_SETOWN, getpid());
			fcntl(p[1], F_SETFL, O_ASYNC);
			put(p[0]);
			n += missed(&all, SIGIO);
			close(p[0]);
			close(p[1]);
			missed(&all, SIGIO);
		}
		say("%s: %d missed", kinds[k].name, n);
	}
	int n = 0;
	for (int i = 0; i < ROUNDS; i++) {
		int p[2];
		streams(p);
		fcntl(p[1], F_SETOWN, getpid());
		send(p[0], "x", 1, MSG_OOB);
		n += missed(&all, SIGURG);
		close(p[0]);
		close(p[1]);
		missed(&all, SIGURG);
	}
	say("urgent: %d missed", n);
}

/* F_SETSIG: the signal says which file it is of, and of what. */
static void chosen(void)
{
	sigset_t all = blocked();
	for (int k = 0; k < KINDS; k++) {
		int p[2];
		kinds[k].make(p);
		err("signal", fcntl(p[1], F_SETSIG, SIGNAL));
		fcntl(p[1], F_SETOWN, getpid());
		fcntl(p[1], F_SETFL, O_ASYNC);
		put(p[0]);
		put(p[0]);
		siginfo_t si;
		for (int sig; (sig = sigtimedwait(&all, &si, &(struct timespec){0})) > 0;)
			say("%s: signal %d, code %d, band %#lx, its file: %d", kinds[k].name, sig, si.si_code, si.si_band, si.si_fd == p[1]);
		fcntl(p[1], F_SETFL, 0);
		put(p[0]);
		say("%s: %d", kinds[k].name, sigtimedwait(&all, &si, &(struct timespec){0}));
		close(p[0]);
		close(p[1]);
	}
}

/* pends says whether a signal is pending for a process or thread, as its status has it. */
static int pends(const char *status, const char *which, int sig)
{
	char line[200], key[20];
	unsigned long long set;
	FILE *f = fopen(status, "r");
	int found = -1;
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%19[^:]: %llx", key, &set) == 2 && strcmp(key, which) == 0)
			found = set >> (sig - 1) & 1;
	if (f)
		fclose(f);
	return found;
}

/* Another process is the owner. */
static void process(void)
{
	blocked(); /* before the child is there, who keeps that */
	for (int k = 0; k < KINDS; k++) {
		int n = 0;
		for (int i = 0; i < ROUNDS / 4; i++) {
			int p[2];
			kinds[k].make(p);
			pid_t child = fork();
			if (child == 0)
				for (;;)
					pause();
			fcntl(p[1], F_SETOWN, child);
			fcntl(p[1], F_SETFL, O_ASYNC);
			put(p[0]);
			char name[40];
			sprintf(name, "/proc/%d/status", child);
			n += pends(name, "ShdPnd", SIGIO) != 1;
			kill(child, SIGKILL);
			waitpid(child, 0, 0);
			close(p[0]);
			close(p[1]);
		}
		say("%s: %d missed", kinds[k].name, n);
	}
}

static void *sleeper(void *tid)
{
	*(volatile pid_t *)tid = gettid();
	for (;;)
		pause();
	return 0;
}

/* One thread is the owner: F_SETOWN_EX. */
static void thread(void)
{
	blocked();
	volatile pid_t tid = 0;
	pthread_t t;
	pthread_create(&t, 0, sleeper, (void *)&tid);
	while (tid == 0)
		sched_yield();
	char its[60];
	sprintf(its, "/proc/self/task/%d/status", tid);
	int p[2];
	streams(p);
	struct f_owner_ex owner = {F_OWNER_TID, tid};
	err("owner", fcntl(p[1], F_SETOWN_EX, &owner));
	err("signal", fcntl(p[1], F_SETSIG, SIGNAL));
	fcntl(p[1], F_SETFL, O_ASYNC);
	put(p[0]);
	say("its own: %d, the process's: %d", pends(its, "SigPnd", SIGNAL), pends(its, "ShdPnd", SIGNAL));
	say("the first thread's: %d", pends("/proc/thread-self/status", "SigPnd", SIGNAL));
}

const struct row owner_rows[] = {
	{"owner.told", told},
	{"owner.chosen", chosen},
	{"owner.process", process},
	{"owner.thread", thread},
	{0, 0},
};
