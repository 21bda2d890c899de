#include "cprogs.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Who gets a signal, what comes along, and what it interrupts. */

static volatile sig_atomic_t count;
static siginfo_t info;

static void informed(int sig, siginfo_t *si, void *uc)
{
	(void)sig, (void)uc;
	info = *si;
	count++;
}

/* The first of several that come one after another. */
static void informed_first(int sig, siginfo_t *si, void *uc)
{
	(void)sig, (void)uc;
	if (count++ == 0)
		info = *si;
}

static void on(int sig, int flags)
{
	struct sigaction sa = {.sa_sigaction = informed, .sa_flags = flags | SA_SIGINFO};
	sigaction(sig, &sa, 0);
}

static void block(int how, int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	sigprocmask(how, &s, 0);
}

/* What each signal does when nobody handles it. */
static void defaults(void)
{
	for (int sig = 1; sig <= 64; sig++) {
		if (sig == SIGCONT || (sig > 31 && sig < 34))
			continue;
		pid_t p = fork();
		if (p == 0) {
			setpgid(0, 0); /* not orphaned, as its parent is elsewhere */
			syscall(SYS_tgkill, getpid(), gettid(), sig);
			_exit(100);
		}
		int ws;
		char what[32];
		snprintf(what, sizeof what, "signal %d", sig);
		waitpid(p, &ws, WUNTRACED);
		status(what, ws);
		if (WIFSTOPPED(ws)) {
			kill(p, SIGKILL);
			waitpid(p, &ws, 0);
		}
	}
}

static void tell(const char *what)
{
	say("%s: signo %d code %d status %d", what, info.si_signo, info.si_code, info.si_status);
}

static void children(void)
{
	on(SIGCHLD, 0);
	block(SIG_BLOCK, SIGCHLD);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGCHLD);
	/* A stop takes the report of the SIGCONT before it away, so the child waits
	   until that was seen. */
	int seen[2];
	if (pipe(seen) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		char c;
		setpgid(0, 0); /* not orphaned, as its parent is elsewhere */
		raise(SIGSTOP);
		if (read(seen[0], &c, 1) != 1)
			_exit(9);
		raise(SIGTSTP);
		_exit(3);
	}
	siginfo_t si;
	say("%d", sigwaitinfo(&s, &info) == SIGCHLD);
	tell("stopped");
	memset(&si, 0, sizeof si);
	err("nothing continued", waitid(P_PID, p, &si, WCONTINUED | WNOHANG));
	say("pid %d", si.si_pid);
	err("stopped, not taken", waitid(P_PID, p, &si, WSTOPPED | WNOWAIT));
	say("code %d status %d", si.si_code, si.si_status);
	err("stopped, taken", waitid(P_PID, p, &si, WSTOPPED));
	memset(&si, 0, sizeof si);
	err("only once", waitid(P_PID, p, &si, WSTOPPED | WNOHANG));
	say("pid %d", si.si_pid);
	kill(p, SIGCONT);
	err("continued", waitid(P_PID, p, &si, WCONTINUED));
	say("code %d status %d", si.si_code, si.si_status);
	if (write(seen[1], "", 1) != 1)
		_exit(1);
	err("stopped again", waitid(P_PID, p, &si, WSTOPPED | WEXITED));
	say("code %d status %d", si.si_code, si.si_status);
	/* A stopped process takes nothing but SIGKILL and SIGCONT. */
	kill(p, SIGTERM);
	memset(&si, 0, sizeof si);
	msleep(20);
	err("still there", waitid(P_PID, p, &si, WEXITED | WNOHANG));
	say("pid %d", si.si_pid);
	kill(p, SIGCONT);
	err("gone", waitid(P_PID, p, &si, WEXITED));
	say("code %d status %d", si.si_code, si.si_status);
	p = fork();
	if (p == 0)
		for (;;)
			pause();
	kill(p, SIGSTOP);
	int ws;
	waitpid(p, &ws, WUNTRACED);
	status("stopped", ws);
	kill(p, SIGKILL);
	waitpid(p, &ws, 0);
	status("killed while stopped", ws);
}

/* Stopping again at once after SIGCONT: no stop goes unseen. */
static void stops(void)
{
	pid_t p = fork();
	if (p == 0)
		for (;;)
			raise(SIGSTOP);
	int n = 0, ws;
	for (; n < 300; n++) {
		siginfo_t si;
		if (waitid(P_PID, p, &si, WSTOPPED) != 0 || si.si_code != CLD_STOPPED)
			break;
		kill(p, SIGCONT);
	}
	say("stops %d", n);
	kill(p, SIGKILL);
	do
		waitpid(p, &ws, 0);
	while (!WIFSIGNALED(ws));
	status("ended", ws);
}

static void overruns(void)
{
	timer_t id;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 5};
	struct sigaction sa = {.sa_sigaction = informed_first, .sa_flags = SA_SIGINFO};
	sigaction(SIGRTMIN, &sa, 0);
	block(SIG_BLOCK, SIGRTMIN);
	timer_create(CLOCK_MONOTONIC, &ev, &id);
	timer_settime(id, 0, &(struct itimerspec){{0, 1000000}, {0, 1000000}}, 0);
	msleep(60);
	block(SIG_UNBLOCK, SIGRTMIN);
	say("code %d value %d overrun %d", info.si_code, info.si_value.sival_int, info.si_overrun >= 20);
	timer_settime(id, 0, &(struct itimerspec){{0, 0}, {0, 0}}, 0);
	/* To one thread. */
	timer_delete(id);
	ev.sigev_notify = SIGEV_THREAD_ID;
	ev._sigev_un._tid = gettid();
	err("to a thread", timer_create(CLOCK_MONOTONIC, &ev, &id));
	count = 0;
	timer_settime(id, 0, &(struct itimerspec){{0, 0}, {0, 5000000}}, 0);
	while (count == 0)
		pause();
	say("overrun %d", info.si_overrun);
	/* Deleted while its signal waits. */
	block(SIG_BLOCK, SIGRTMIN);
	timer_settime(id, 0, &(struct itimerspec){{0, 0}, {0, 1000000}}, 0);
	msleep(20);
	timer_delete(id);
	count = 0;
	block(SIG_UNBLOCK, SIGRTMIN);
	say("after its end %d", count);
}

static void queue(void)
{
	block(SIG_BLOCK, SIGRTMIN + 1);
	block(SIG_BLOCK, SIGRTMIN);
	for (int i = 0; i < 5; i++) {
		sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
	}
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN);
	sigaddset(&s, SIGRTMIN + 1);
	for (int i = 0; i < 10; i++) {
		siginfo_t si;
		int r = sigwaitinfo(&s, &si);
		say("%d value %d code %d", r - SIGRTMIN, si.si_value.sival_int, si.si_code);
	}
	/* The limit is per user; no more than it fit. */
	setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){200, 200});
	int n = 0;
	while (n < 100000 && sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = n}) == 0)
		n++;
	say("limited %d: %s", n <= 200, strerrorname_np(errno));
	/* kill still gets through, without a place in the queue. */
	err("kill", kill(getpid(), SIGRTMIN + 1));
	siginfo_t si;
	sigdelset(&s, SIGRTMIN);
	say("%d", sigwaitinfo(&s, &si) == SIGRTMIN + 1);
	siginfo_t made = {.si_code = SI_USER};
	pid_t other = fork();
	if (other == 0) {
		pause();
		_exit(0);
	}
	err("posing as kill", syscall(SYS_rt_sigqueueinfo, other, SIGUSR1, &made));
	made.si_code = SI_TKILL;
	err("posing as tkill", syscall(SYS_rt_sigqueueinfo, other, SIGUSR1, &made));
	made.si_code = SI_KERNEL;
	err("posing as the kernel", syscall(SYS_rt_sigqueueinfo, other, SIGUSR1, &made));
	made.si_code = -60;
	err("own code", syscall(SYS_rt_sigqueueinfo, other, SIGTERM, &made));
	int ws;
	waitpid(other, &ws, 0);
	status("it", ws);
}

/* None of many is lost. */
static void many(void)
{
	enum { total = 20000 };
	int ready[2];
	if (pipe(ready) != 0)
		_exit(1);
	on(SIGRTMIN, SA_RESTART);
	block(SIG_BLOCK, SIGRTMIN);
	pid_t p = fork();
	if (p == 0) {
		block(SIG_UNBLOCK, SIGRTMIN);
		if (write(ready[1], "", 1) != 1)
			_exit(9);
		while (count < total)
			;
		_exit(count == total ? 0 : 1);
	}
	char c;
	if (read(ready[0], &c, 1) != 1)
		_exit(9);
	for (int i = 0; i < total; i++)
		while (sigqueue(p, SIGRTMIN, (union sigval){.sival_int = i}) != 0)
			sched_yield();
	int ws;
	waitpid(p, &ws, 0);
	status("got all", ws);
}

static void later(int sig, long ms)
{
	struct itimerval it = {{2, 0}, {ms / 1000, ms % 1000 * 1000}}; /* as alarm_in */
	(void)sig;
	setitimer(ITIMER_REAL, &it, 0);
}

/* What a signal interrupts, with SA_RESTART and without. */
static void interrupts(void)
{
	for (int flags = 0;; flags = SA_RESTART) {
		say(flags ? "with SA_RESTART" : "without");
		on(SIGALRM, flags);
		int p[2];
		if (pipe(p) != 0)
			_exit(1);
		struct pollfd pf = {p[0], POLLIN, 0};
		later(SIGALRM, 40);
		err("poll", poll(&pf, 1, 1000));
		later(SIGALRM, 40);
		struct timespec ts = {1, 0};
		err("ppoll", ppoll(&pf, 1, &ts, 0));
		fd_set set;
		FD_ZERO(&set);
		FD_SET(p[0], &set);
		later(SIGALRM, 40);
		err("select", select(p[0] + 1, &set, 0, 0, &(struct timeval){1, 0}));
		int e = epoll_create1(0);
		struct epoll_event ee;
		later(SIGALRM, 40);
		err("epoll_wait", epoll_wait(e, &ee, 1, 1000));
		later(SIGALRM, 40);
		err("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, 0) == EINTR ? (errno = EINTR, -1) : 0);
		later(SIGALRM, 40);
		sigset_t s;
		sigemptyset(&s);
		sigaddset(&s, SIGUSR1);
		err("sigtimedwait", sigtimedwait(&s, 0, &ts));
		int word = 0;
		later(SIGALRM, 40);
		err("futex with a time", syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts));
		later(SIGALRM, 40);
		err("semaphore's", syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &(struct timespec){1L << 33, 0}, 0, -1));
		if (flags)
			break;
		later(SIGALRM, 40);
		err("futex", syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0));
		struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "s"};
		int l = socket(AF_UNIX, SOCK_STREAM, 0);
		if (bind(l, (void *)&sun, sizeof sun) != 0 || listen(l, 1) != 0)
			_exit(1);
		later(SIGALRM, 40);
		err("accept", accept(l, 0, 0));
		int sp[2];
		socketpair(AF_UNIX, SOCK_STREAM, 0, sp);
		char c;
		later(SIGALRM, 40);
		err("recv", recv(sp[0], &c, 1, 0));
		later(SIGALRM, 40);
		err("flock", open("fifo", O_RDONLY | (mkfifo("fifo", 0600) & 0)));
		char buf[65536] = {0};
		fcntl(p[1], F_SETPIPE_SZ, 4096);
		later(SIGALRM, 40);
		say("write wrote part of it %d", write(p[1], buf, sizeof buf) > 0);
		later(SIGALRM, 40);
		err("write", write(p[1], buf, sizeof buf));
	}
}

static void *futex_waker(void *arg)
{
	int *word = arg;
	msleep(150);
	__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE, 1);
	return 0;
}

static void restarted(void)
{
	on(SIGALRM, SA_RESTART);
	int word = 0;
	pthread_t t;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &s, 0);
	pthread_create(&t, 0, futex_waker, &word);
	pthread_sigmask(SIG_UNBLOCK, &s, 0);
	later(SIGALRM, 40);
	err("futex", syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0));
	say("count %d", count);
	pthread_join(t, 0);
	struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "t"};
	int l = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(l, (void *)&sun, sizeof sun) != 0 || listen(l, 1) != 0)
		_exit(1);
	pid_t p = fork();
	if (p == 0) {
		msleep(150);
		int c = socket(AF_UNIX, SOCK_STREAM, 0);
		connect(c, (void *)&sun, sizeof sun);
		_exit(write(c, "x", 1) != 1);
	}
	later(SIGALRM, 40);
	int a = accept(l, 0, 0);
	err("accept", a);
	char c;
	err("recv", recv(a, &c, 1, 0));
	say("count %d", count);
	int ws;
	waitpid(p, &ws, 0);
}

/* Masks that count for one call. */
static void masked_calls(void)
{
	on(SIGUSR1, 0);
	block(SIG_BLOCK, SIGUSR1);
	sigset_t none, full;
	sigemptyset(&none);
	sigfillset(&full);
	int e = epoll_create1(0);
	struct epoll_event ee;
	raise(SIGUSR1);
	err("epoll_pwait", epoll_pwait(e, &ee, 1, 1000, &none));
	say("count %d", count);
	raise(SIGUSR1);
	struct timespec ts = {1, 0}, none_ts = {0, 0};
	err("ppoll", ppoll(0, 0, &ts, &none));
	say("count %d", count);
	raise(SIGUSR1);
	err("ppoll of nothing", ppoll(0, 0, &none_ts, &full));
	say("count %d", count);
	err("sigsuspend", sigsuspend(&none));
	say("count %d", count);
	sigset_t now_;
	sigprocmask(SIG_SETMASK, 0, &now_);
	say("blocked %d %d", sigismember(&now_, SIGUSR1), sigismember(&now_, SIGUSR2));
	/* Something is ready: the signal waits. */
	int p[2];
	if (pipe(p) != 0 || write(p[1], "x", 1) != 1)
		_exit(1);
	struct pollfd pf = {p[0], POLLIN, 0};
	raise(SIGUSR1);
	int r = ppoll(&pf, 1, &ts, &none);
	say("ready %d count %d", r, count);
	block(SIG_UNBLOCK, SIGUSR1);
	say("count %d", count);
}

static int pipefd[2];
static volatile int word_, stop_;

static void *blocked_in_read(void *arg)
{
	char c;
	(void)arg;
	return (void *)(read(pipefd[0], &c, 1) == -1 ? (long)errno : 0);
}

static void *blocked_in_futex(void *arg)
{
	(void)arg;
	return (void *)(syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, 0, 0) == -1 ? (long)errno : 0);
}

static void *computing(void *arg)
{
	long n = 0;
	(void)arg;
	while (!stop_)
		n++;
	return 0;
}

static void *soon_gone(void *arg)
{
	return arg;
}

static void to_threads(void)
{
	on(SIGUSR1, 0);
	if (pipe(pipefd) != 0)
		_exit(1);
	pthread_t t;
	void *r;
	pthread_create(&t, 0, blocked_in_read, 0);
	/* A signal that comes before the call does not interrupt it. */
	do {
		msleep(10);
		pthread_kill(t, SIGUSR1);
		msleep(10);
	} while (pthread_tryjoin_np(t, &r) != 0);
	say("read: %s", strerrorname_np((long)r));
	count = 0;
	pthread_create(&t, 0, blocked_in_futex, 0);
	do {
		msleep(20);
		pthread_kill(t, SIGUSR1);
		msleep(20);
	} while (pthread_tryjoin_np(t, &r) != 0);
	say("futex: %s, %d", strerrorname_np((long)r), count > 0);
	count = 0;
	pthread_create(&t, 0, computing, 0);
	for (int i = 0; i < 50; i++) {
		pthread_kill(t, SIGUSR1);
		for (long w = now(); count <= i && now() - w < 5000;)
			sched_yield();
	}
	stop_ = 1;
	pthread_join(t, 0);
	say("computing: count %d", count);
	for (int i = 0; i < 200; i++) {
		pthread_create(&t, 0, soon_gone, 0);
		pthread_kill(t, SIGUSR1);
		pthread_join(t, 0);
	}
	say("going ones survived");
	/* The process's signals while its threads come and go. */
	pid_t p = fork();
	if (p == 0) {
		for (;;) {
			pthread_create(&t, 0, soon_gone, 0);
			pthread_join(t, 0);
		}
	}
	for (int i = 0; i < 500; i++)
		kill(p, SIGUSR1);
	kill(p, SIGTERM);
	int ws;
	waitpid(p, &ws, 0);
	status("ended", ws);
}

static void async_io(void)
{
	int sp[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, sp);
	on(SIGIO, 0);
	on(SIGRTMIN, 0);
	err("owner", fcntl(sp[0], F_SETOWN, getpid()));
	err("asynchronous", fcntl(sp[0], F_SETFL, O_ASYNC | O_NONBLOCK));
	if (write(sp[1], "x", 1) != 1)
		_exit(1);
	for (long w = now(); count == 0 && now() - w < 20000;)
		msleep(1);
	say("signo %d code %d", info.si_signo, info.si_code);
}

/* hare forks and ends, and so does its child: whoever is listed may be gone, and have
 * left another. */
static void hare(void)
{
	for (int left = 4000; left > 0; left--)
		if (fork() > 0)
			_exit(0);
	_exit(1);
}

/* no_child_left says whether all descendants end, of whom this process is the reaper. */
static int no_child_left(void)
{
	for (long since = now(); now() - since < 1000; msleep(1)) {
		pid_t pid;
		while ((pid = waitpid(-1, 0, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			return 1;
	}
	return 0;
}

/* A signal to a process group misses nobody who is just being made. */
static void hares(void)
{
	int escaped = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < 30; i++) {
		pid_t group = fork();
		if (group == 0) {
			setpgid(0, 0);
			for (int k = 0; k < 4; k++)
				if (fork() == 0)
					hare();
			hare();
		}
		setpgid(group, group);
		msleep(i % 7);
		kill(-group, i % 2 ? SIGKILL : SIGTERM);
		escaped += !no_child_left();
		kill(-group, SIGKILL);
		no_child_left();
	}
	say("escaped: %d", escaped);
}

const struct row sigsend_rows[] = {
	{"sigsend.hares", hares},
	{"sigsend.defaults", defaults},
	{"sigsend.children", children},
	{"sigsend.stops", stops},
	{"sigsend.overruns", overruns},
	{"sigsend.queue", queue},
	{"sigsend.many", many},
	{"sigsend.interrupts", interrupts},
	{"sigsend.restarted", restarted},
	{"sigsend.masks", masked_calls},
	{"sigsend.threads", to_threads},
	{"sigsend.async", async_io},
	{0, 0},
};
