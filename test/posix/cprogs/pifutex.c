#include "cprogs.h"
#include <linux/futex.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static long futex(volatile void *addr, int op, unsigned val, const void *t, volatile void *addr2, unsigned val3)
{
	return syscall(SYS_futex, addr, op, val, t, addr2, val3);
}

/* shows prints a lock word with the thread ids told apart. */
static void shows(const char *what, unsigned w, int me)
{
	unsigned id = w & FUTEX_TID_MASK;
	say("%s: %s%s%s", what, id == 0 ? "nobody" : (int)id == me ? "me" : "another", w & FUTEX_WAITERS ? " waiters" : "", w & FUTEX_OWNER_DIED ? " owner-died" : "");
}

static volatile unsigned word;
static unsigned cond;
static volatile int step;
static int main_tid;
static volatile int signalled; /* the holder keeps it until a signal was handled */
static volatile sig_atomic_t handled;

static void *holder(void *arg)
{
	(void)arg;
	err("holder locks", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	step = 1;
	for (int i = 0; i < 20000 && (!(word & FUTEX_WAITERS) || (signalled && !handled)); i++)
		msleep(1);
	until_asleep(main_tid); /* in its wait for this */
	msleep(20);
	step = 2;
	shows("holder sees", word, gettid());
	return (void *)futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0);
}

static void *dying(void *arg)
{
	futex(arg, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0);
	step = 1;
	for (int i = 0; i < 20000 && !(*(volatile unsigned *)arg & FUTEX_WAITERS); i++)
		msleep(1);
	until_asleep(main_tid);
	return 0;
}

static void basic(void)
{
	pthread_t t;
	void *r;
	int me = main_tid = gettid();
	err("lock", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);
	err("again", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("try again", futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("unlock", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);
	err("unlock again", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("try", futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);
	err("unlock", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("lock 2", futex(&word, FUTEX_LOCK_PI2_PRIVATE, 0, 0, 0, 0));
	err("unlock", futex(&word, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	word = FUTEX_OWNER_DIED;
	err("a dead one's", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);
	err("unlock", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	word = 0x3ffffff0;
	err("no such owner", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	word = 1;
	err("not mine", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	word = 0;
	err("unaligned", futex((char *)&word + 1, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("no memory", futex((void *)4096, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("no memory", futex((void *)4096, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	unsigned *ro = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	err("read-only", futex(ro, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("bad timeout", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, &(struct timespec){0, -1}, 0, 0));
	err("clock flag", futex(&word, FUTEX_TRYLOCK_PI | FUTEX_CLOCK_REALTIME, 0, 0, 0, 0));

	step = 0;
	pthread_create(&t, 0, holder, 0);
	while (step == 0)
		msleep(1);
	err("try a held one", futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, 0, 0, 0));
	struct timespec dl;
	clock_gettime(CLOCK_REALTIME, &dl);
	err("past", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, &dl, 0, 0));
	clock_gettime(CLOCK_MONOTONIC, &dl);
	err("past, monotonic", futex(&word, FUTEX_LOCK_PI2_PRIVATE, 0, &dl, 0, 0));
	err("wait", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	say("holder was at %d", step);
	shows("word", word, me);
	pthread_join(t, &r);
	say("holder unlocked: %ld", (long)r);
	err("unlock", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);

	step = 0;
	pthread_create(&t, 0, dying, (void *)&word);
	while (step == 0)
		msleep(1);
	err("owner ends", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);
	pthread_join(t, 0);
	err("unlock", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	shows("word", word, me);
}

static void on_signal(int sig) { handled = sig; }

static volatile unsigned a, b;

static void *crossing(void *arg)
{
	*(volatile int *)arg = gettid();
	futex(&b, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0);
	futex(&a, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0);
	futex(&a, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0);
	futex(&b, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0);
	return 0;
}

static void *interrupts(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000 && !(word & FUTEX_WAITERS); i++)
		msleep(1);
	until_asleep(main_tid);
	syscall(SYS_tgkill, getpid(), main_tid, SIGUSR1);
	return 0;
}

static void waiting(void)
{
	pthread_t t, u;
	volatile int tid = 0;
	main_tid = gettid();
	futex(&a, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0);
	pthread_create(&t, 0, crossing, (void *)&tid);
	for (int i = 0; i < 20000 && !(a & FUTEX_WAITERS); i++)
		msleep(1);
	until_asleep(tid);
	err("a circle", futex(&b, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	err("unlock", futex(&a, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
	pthread_join(t, 0);
	shows("a", a, main_tid);
	shows("b", b, main_tid);
	/* A signal does not end the wait. */
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &sa, 0);
	step = 0;
	signalled = 1;
	pthread_create(&t, 0, holder, 0);
	while (step == 0)
		msleep(1);
	pthread_create(&u, 0, interrupts, 0);
	err("lock with a signal", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
	say("handled %d, holder was at %d", (int)handled, step);
	pthread_join(t, 0);
	pthread_join(u, 0);
}

static pthread_mutex_t m;
static long total;

static void *adds(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3000; i++) {
		pthread_mutex_lock(&m);
		total++;
		if (i % 100 == 0)
			sched_yield();
		pthread_mutex_unlock(&m);
	}
	return 0;
}

static void mutexes(void)
{
	pthread_mutexattr_t at;
	pthread_mutexattr_init(&at);
	pthread_mutexattr_setprotocol(&at, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&m, &at);
	pthread_t t[6];
	for (int i = 0; i < 6; i++)
		pthread_create(&t[i], 0, adds, 0);
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], 0);
	say("total %ld", total);
	/* Robust, across processes. */
	for (int ends = 0; ends < 2; ends++) {
		pthread_mutex_t *r = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST);
		pthread_mutexattr_setpshared(&at, PTHREAD_PROCESS_SHARED);
		say("init %d", pthread_mutex_init(r, &at));
		int ready[2];
		if (pipe(ready) != 0)
			_exit(1);
		pid_t p = fork();
		if (p == 0) {
			pthread_mutex_lock(r);
			if (write(ready[1], "x", 1) != 1)
				_exit(1);
			msleep(30);
			if (ends)
				raise(SIGKILL);
			execl("/bin/true", "true", (char *)0);
			_exit(9);
		}
		char c;
		if (read(ready[0], &c, 1) != 1)
			_exit(1);
		struct timespec dl;
		clock_gettime(CLOCK_REALTIME, &dl);
		dl.tv_sec += 5;
		int e = pthread_mutex_timedlock(r, &dl);
		say("robust: %s", e ? strerrorname_np(e) : "ok");
		say("consistent %d", pthread_mutex_consistent(r));
		say("unlock %d", pthread_mutex_unlock(r));
		say("lock %d", pthread_mutex_lock(r));
		say("unlock %d", pthread_mutex_unlock(r));
		wait(0);
	}
}

static void *requeued(void *arg)
{
	*(volatile int *)arg = gettid();
	long r = futex(&cond, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, 0, &word, 0);
	if (r == -1)
		say("requeued: %s", strerrorname_np(errno));
	total += (word & FUTEX_TID_MASK) == (unsigned)gettid();
	msleep(5);
	if (futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0) == -1)
		say("unlock: %s", strerrorname_np(errno));
	return 0;
}

static void requeue(void)
{
	pthread_t t[4];
	struct timespec dl;
	main_tid = gettid();
	err("differs", futex(&cond, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, 0, &word, 0));
	err("the same word", futex(&cond, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, 0, &cond, 0));
	clock_gettime(CLOCK_MONOTONIC, &dl);
	err("times out", futex(&cond, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &dl, &word, 0));
	err("differs", futex(&cond, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 9));
	err("wakes two", futex(&cond, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)1, &word, 0));
	err("the same word", futex(&cond, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &cond, 0));
	say("nobody %ld", futex(&cond, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 0));
	for (int held = 0; held < 2; held++) {
		volatile int tids[4] = {0};
		total = 0;
		for (int i = 0; i < 4; i++)
			pthread_create(&t[i], 0, requeued, (void *)&tids[i]);
		for (int i = 0; i < 4; i++) {
			while (tids[i] == 0)
				msleep(1);
			until_asleep(tids[i]);
		}
		if (held)
			err("lock", futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
		say("moved %ld", futex(&cond, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 0));
		say("moved %ld", futex(&cond, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)INT_MAX, &word, 0));
		if (held) {
			shows("word", word, main_tid);
			err("unlock", futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0));
		}
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], 0);
		say("owners %ld", total);
		shows("word", word, main_tid);
	}
}

const struct row pifutex_rows[] = {
	{"pifutex.basic", basic},
	{"pifutex.wait", waiting},
	{"pifutex.mutex", mutexes},
	{"pifutex.requeue", requeue},
	{0, 0},
};
