#include "cprogs.h"
#include <linux/futex.h>

static long futex(void *addr, int op, int val, const struct timespec *t, void *addr2, int val3)
{
	return syscall(SYS_futex, addr, op, val, t, addr2, val3);
}

static int word;

static void *waker(void *arg)
{
	msleep(20);
	word = 1;
	futex(&word, *(int *)arg, 1, 0, 0, 0);
	return 0;
}

static void futex_basic(void)
{
	pthread_t t;
	err("value differs", futex(&word, FUTEX_WAIT_PRIVATE, 5, 0, 0, 0));
	err("timeout", futex(&word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 5000000}, 0, 0));
	err("bad timeout", futex(&word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 2000000000}, 0, 0));
	err("unaligned", futex((char *)&word + 1, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0));
	err("bad address", futex((void *)8, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0));
	err("unknown", futex(&word, 99, 0, 0, 0, 0));
	int ops[][2] = {{FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE}, {FUTEX_WAIT, FUTEX_WAKE}};
	for (int i = 0; i < 2; i++) {
		word = 0;
		pthread_create(&t, 0, waker, &ops[i][1]);
		while (word == 0)
			futex(&word, ops[i][0], 0, 0, 0, 0);
		say("woken %d", word);
		pthread_join(t, 0);
	}
	say("wake nobody %ld", futex(&word, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
	word = 0;
	struct timespec dl;
	clock_gettime(CLOCK_MONOTONIC, &dl);
	err("bitset, past deadline", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &dl, 0, -1));
	err("no bits", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &dl, 0, 0));
}

/* wake_child wakes a child that waits while *w is 0: as soon as it does, and then until
 * it has seen that *w is not 0 any more. */
static void wake_child(pid_t p, volatile int *w, int *ws)
{
	long woke;
	while ((woke = futex((int *)w, FUTEX_WAKE, 1, 0, 0, 0)) == 0)
		msleep(1);
	say("woke %ld", woke);
	*w = 1;
	while (futex((int *)w, FUTEX_WAKE, 1, 0, 0, 0), waitpid(p, ws, WNOHANG) == 0)
		msleep(1);
}

static void futex_shared(void)
{
	int *w = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t p = fork();
	if (p == 0) {
		while (*w == 0)
			futex(w, FUTEX_WAIT, 0, 0, 0, 0);
		_exit(11);
	}
	int ws;
	wake_child(p, w, &ws);
	status("across processes", ws);
	/* The same file, mapped twice. */
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	if (ftruncate(fd, 4096) != 0)
		_exit(1);
	p = fork();
	if (p == 0) {
		volatile int *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		while (*m == 0)
			futex((int *)m, FUTEX_WAIT, 0, 0, 0, 0);
		_exit(12);
	}
	volatile int *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	wake_child(p, m, &ws);
	status("through a file", ws);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long total;
static int turn;

static void *adder(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&lock);
		total++;
		pthread_mutex_unlock(&lock);
	}
	return 0;
}

static void mutexes(void)
{
	pthread_t t[8];
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], 0, adder, 0);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], 0);
	say("total %ld", total);
}

static void *player(void *arg)
{
	int me = (long)arg;
	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&changed, &lock);
		turn = !me;
		total++;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return 0;
}

static void conditions(void)
{
	pthread_t a, b;
	pthread_create(&a, 0, player, (void *)0);
	pthread_create(&b, 0, player, (void *)1);
	pthread_join(a, 0);
	pthread_join(b, 0);
	say("turns %ld", total);
	struct timespec dl;
	clock_gettime(CLOCK_REALTIME, &dl);
	dl.tv_nsec += 10000000;
	if (dl.tv_nsec >= 1000000000)
		dl.tv_sec++, dl.tv_nsec -= 1000000000;
	pthread_mutex_lock(&lock);
	say("timed out %d", pthread_cond_timedwait(&changed, &lock, &dl) == ETIMEDOUT);
}

static void kinds(void)
{
	pthread_mutexattr_t a;
	pthread_mutex_t m;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&m, &a);
	pthread_mutex_lock(&m);
	say("errorcheck %s", strerrorname_np(pthread_mutex_lock(&m)));
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&m, &a);
	say("pi lock %d", pthread_mutex_lock(&m));
	say("pi unlock %d", pthread_mutex_unlock(&m));
}

struct robust {
	pthread_mutex_t m;
};

static void robust(void)
{
	struct robust *r = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&r->m, &a);
	pid_t p = fork();
	if (p == 0) {
		pthread_mutex_lock(&r->m);
		_exit(0);
	}
	waitpid(p, 0, 0);
	struct timespec dl;
	clock_gettime(CLOCK_REALTIME, &dl);
	dl.tv_sec += 3;
	int e = pthread_mutex_timedlock(&r->m, &dl);
	say("owner died: %s", e ? strerrorname_np(e) : "ok");
	if (e == EOWNERDEAD)
		pthread_mutex_consistent(&r->m);
	say("unlock %d", pthread_mutex_unlock(&r->m));
}

static void *number(void *arg)
{
	return (void *)((long)arg * 2);
}

static void *canceled(void *arg)
{
	while (arg == 0)
		pause();
	return arg;
}

static __thread long local = 5;

static void *locals(void *arg)
{
	(void)arg;
	return (void *)(local++ + 100);
}

static void lifecycle(void)
{
	pthread_t t;
	void *r;
	long sum = 0;
	for (long i = 0; i < 200; i++) {
		pthread_create(&t, 0, number, (void *)i);
		pthread_join(t, &r);
		sum += (long)r;
	}
	say("200 in turn %ld", sum);
	pthread_t many[100];
	for (long i = 0; i < 100; i++)
		pthread_create(&many[i], 0, number, (void *)i);
	sum = 0;
	for (int i = 0; i < 100; i++) {
		pthread_join(many[i], &r);
		sum += (long)r;
	}
	say("100 at once %ld", sum);
	pthread_create(&t, 0, canceled, 0);
	msleep(10);
	pthread_cancel(t);
	pthread_join(t, &r);
	say("cancelled %d", r == PTHREAD_CANCELED);
	pthread_create(&t, 0, locals, 0);
	pthread_join(t, &r);
	say("thread-local %ld here %ld", (long)r, local);
	say("tid %d", gettid() == getpid());
}

static void *forker(void *arg)
{
	(void)arg;
	long good = 0;
	for (int i = 0; i < 10; i++) {
		pid_t p = fork();
		if (p == 0)
			_exit(i);
		int ws;
		waitpid(p, &ws, 0);
		good += WEXITSTATUS(ws) == i;
	}
	return (void *)good;
}

static void forking_threads(void)
{
	pthread_t t[4];
	long good = 0;
	void *r;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], 0, forker, 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		good += (long)r;
	}
	say("%ld children of threads", good);
}

const struct row thread_rows[] = {
	{"thread.futex", futex_basic},
	{"thread.futex-shared", futex_shared},
	{"thread.mutex", mutexes},
	{"thread.condition", conditions},
	{"thread.kinds", kinds},
	{"thread.robust", robust},
	{"thread.life", lifecycle},
	{"thread.fork", forking_threads},
	{0, 0},
};
