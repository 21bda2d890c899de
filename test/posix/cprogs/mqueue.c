#include "cprogs.h"
#include <mqueue.h>
#include <poll.h>
#include <sys/mount.h>

static char name[64];

static mqd_t make(int flags, long most, long size)
{
	snprintf(name, sizeof name, "/bulkhead-test-%d", getpid());
	struct mq_attr a = {.mq_maxmsg = most, .mq_msgsize = size};
	return mq_open(name, O_CREAT | flags, 0600, &a);
}

static void show(mqd_t q)
{
	struct mq_attr a;
	err("getattr", mq_getattr(q, &a));
	say("  flags %#lx most %ld size %ld now %ld", a.mq_flags, a.mq_maxmsg, a.mq_msgsize, a.mq_curmsgs);
}

static struct timespec *in_ms(long ms)
{
	static struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return &t;
}

static void basics(void)
{
	mqd_t q = make(O_RDWR | O_EXCL, 3, 16);
	err("open", q);
	show(q);
	say("closes on exec %d", fcntl(q, F_GETFD));
	err("exclusively", make(O_RDWR | O_EXCL, 3, 16));
	err("send a", mq_send(q, "a", 1, 1));
	err("send b", mq_send(q, "bb", 2, 5));
	err("send c", mq_send(q, "ccc", 3, 1));
	err("too long", mq_send(q, "0123456789abcdefg", 17, 1));
	err("priority", mq_send(q, "x", 1, 32768));
	err("full, in time", mq_timedsend(q, "x", 1, 1, in_ms(10)));
	err("full, bad time", mq_timedsend(q, "x", 1, 1, &(struct timespec){0, -1}));
	mqd_t n = mq_open(name, O_RDWR | O_NONBLOCK);
	err("full, at once", mq_send(n, "x", 1, 1));
	show(n);
	struct pollfd p = {q, POLLIN | POLLOUT, 0};
	poll(&p, 1, 0);
	say("ready %#x", p.revents);
	char b[64];
	unsigned prio = 0;
	err("short buffer", mq_receive(q, b, 8, 0));
	for (int i = 0; i < 3; i++) {
		long got = mq_receive(q, b, 16, &prio);
		say("got %ld %.*s %u", got, (int)got, b, prio);
	}
	err("empty, at once", mq_receive(n, b, 16, 0));
	err("empty, in time", mq_timedreceive(q, b, 16, 0, in_ms(10)));
	poll(&p, 1, 0);
	say("ready %#x", p.revents);
	err("send nothing", mq_send(q, 0, 0, 0));
	say("got %ld", (long)mq_receive(q, b, 16, 0));
	struct mq_attr a = {.mq_flags = O_NONBLOCK}, old;
	err("setattr", mq_setattr(q, &a, &old));
	say("was %#lx", old.mq_flags);
	err("now", mq_receive(q, b, 16, 0));
	a.mq_flags = O_APPEND;
	err("other flags", mq_setattr(q, &a, 0));
	mqd_t r = mq_open(name, O_RDONLY), w = mq_open(name, O_WRONLY);
	err("send to a receiver's", mq_send(r, "x", 1, 1));
	err("receive from a sender's", mq_receive(w, b, 16, 0));
	int fd = open("/dev/null", O_RDWR);
	err("no queue", mq_send(fd, "x", 1, 1));
	err("no queue", mq_getattr(fd, &a));
	memset(b, 0, sizeof b);
	err("read", read(r, b, sizeof b - 1));
	say("%s", b);
	struct stat st;
	fstat(r, &st);
	say("mode %o size %d", st.st_mode, (int)st.st_size);
	err("unlink", mq_unlink(name));
	err("again", mq_unlink(name));
	err("gone", mq_open(name, O_RDWR));
	err("lives on", mq_send(w, "x", 1, 1));
	err("name", syscall(SYS_mq_open, "a/b", O_CREAT | O_RDWR, 0600, 0));
	err("no name", syscall(SYS_mq_open, "", O_CREAT | O_RDWR, 0600, 0));
	err("dot", syscall(SYS_mq_open, ".", O_CREAT | O_RDWR, 0600, 0));
	char longname[300];
	memset(longname, 'n', sizeof longname);
	longname[0] = '/', longname[299] = 0;
	err("long", mq_open(longname, O_CREAT | O_RDWR, 0600, 0));
	err("no size", make(O_RDWR, 1, 0));
	err("no messages", make(O_RDWR, 0, 1));
	err("bad attr", syscall(SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, 8));
}

static void limits(void)
{
	setrlimit(RLIMIT_MSGQUEUE, &(struct rlimit){20000, 20000});
	int ws;
	if (fork() == 0) {
		setuid(54321);
		err("10 of 8192", make(O_RDWR, 10, 8192));
		err("2 of 8192", make(O_RDWR, 2, 8192));
		err("above the most", make(O_RDWR, 11, 1));
		char other[80];
		snprintf(other, sizeof other, "%s-2", name);
		struct mq_attr a = {.mq_maxmsg = 2, .mq_msgsize = 2048};
		err("and 2 of 2048", mq_open(other, O_CREAT | O_RDWR, 0600, &a));
		a.mq_msgsize = 1024;
		err("and 2 of 1024", mq_open(other, O_CREAT | O_RDWR, 0600, &a));
		mq_unlink(other);
		if (fork() == 0) {
			_exit(0);
		}
		wait(&ws);
		mq_unlink(name);
		_exit(0);
	}
	wait(&ws);
	mqd_t q = make(O_RDWR, 2, 16);
	if (fork() == 0) {
		setuid(54321);
		err("somebody else's", mq_open(name, O_RDWR));
		err("unlink it", mq_unlink(name));
		_exit(0);
	}
	wait(&ws);
	err("fchmod", fchmod(q, 0644));
	if (fork() == 0) {
		setuid(54321);
		err("to read", mq_open(name, O_RDONLY));
		err("to write", mq_open(name, O_WRONLY));
		_exit(0);
	}
	wait(&ws);
	mq_unlink(name);
}

static void waiting(void)
{
	mqd_t q = make(O_RDWR, 1, 16);
	mq_unlink(name);
	char b[16];
	int ws;
	if (fork() == 0) {
		for (int i = 0; i < 5; i++) {
			long n = mq_receive(q, b, 16, 0);
			say("received %ld %.*s", n, (int)n, b);
		}
		_exit(0);
	}
	for (int i = 0; i < 5; i++)
		if (mq_send(q, "abcde" + i, 5 - i, 0) != 0)
			say("send failed");
	wait(&ws);
	status("receiver", ws);
	struct sigaction sa = {.sa_handler = SIG_DFL};
	sa.sa_handler = (void (*)(int))abs;
	sigaction(SIGALRM, &sa, 0);
	ualarm(20000, 900000); /* again, should the call not have begun by then */
	err("a signal", mq_receive(q, b, 16, 0));
	ualarm(0, 0);
}

static volatile sig_atomic_t told;
static volatile int code, value, from;

static void on_message(int sig, siginfo_t *i, void *u)
{
	(void)sig, (void)u;
	told++;
	code = i->si_code, value = i->si_value.sival_int, from = i->si_pid;
}


static void in_thread(union sigval v)
{
	say("in a thread: %d", v.sival_int);
	write(v.sival_int, "t", 1);
}

static void notices(void)
{

	mqd_t q = make(O_RDWR, 4, 16);
	mqd_t second = mq_open(name, O_RDWR);
	mq_unlink(name);
	char b[81] = "";
	struct sigaction sa = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &sa, 0);
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
	err("notify", mq_notify(q, &ev));
	err("busy", mq_notify(q, &ev));
	err("send", mq_send(q, "a", 1, 0));
	say("told %d code %d value %d from self %d", (int)told, code, value, from == getpid());
	err("send", mq_send(q, "b", 1, 0));
	say("told %d", (int)told);
	err("not empty", mq_notify(q, &ev));
	err("send", mq_send(q, "c", 1, 0));
	say("told %d", (int)told);
	for (int i = 0; i < 3; i++)
		mq_receive(q, b, 16, 0);
	err("send", mq_send(q, "d", 1, 0));
	say("told %d", (int)told);
	mq_receive(q, b, 16, 0);
	err("notify", mq_notify(q, &ev));
	int ws;
	if (fork() == 0) {
		err("a child's none to take back", mq_notify(q, 0));
		err("busy for it too", mq_notify(q, &ev));
		_exit(0);
	}
	wait(&ws);
	err("take it back", mq_notify(q, 0));
	ev.sigev_notify = SIGEV_NONE;
	err("of nothing", mq_notify(q, &ev));
	err("busy", mq_notify(q, &ev));
	mq_close(second);
	err("closed", mq_notify(q, &ev));
	mq_notify(q, 0);
	ev.sigev_notify = 99;
	err("kind", mq_notify(q, &ev));
	ev.sigev_notify = SIGEV_SIGNAL;
	ev.sigev_signo = 99;
	err("signal", mq_notify(q, &ev));
	int p[2];
	if (pipe(p) != 0)
		return;
	ev.sigev_notify = SIGEV_THREAD;
	ev.sigev_notify_function = in_thread;
	ev.sigev_notify_attributes = 0;
	ev.sigev_value.sival_int = p[1];
	err("by a thread", mq_notify(q, &ev));
	err("send", mq_send(q, "e", 1, 0));
	say("woken %ld", (long)read(p[0], b, 1));
}

static void mounted(void)
{
	mqd_t q = make(O_RDWR, 4, 16);
	mq_send(q, "hello", 5, 0);
	char dir[64], path[200], b[100] = "";
	snprintf(dir, sizeof dir, "d");
	mkdir(dir, 0755);
	if (mount("none", dir, "mqueue", 0, 0) != 0) {
		err("mount", -1);
		return;
	}
	snprintf(path, sizeof path, "%s%s", dir, name);
	int fd = open(path, O_RDONLY), made;
	err("open", fd);
	err("read", read(fd, b, 99));
	say("%s", b);
	struct stat st;
	stat(dir, &st);
	say("directory %o", st.st_mode);
	err("send by that", mq_send(fd, "x", 1, 0));
	err("mkdir", mkdir("d/x", 0700));
	err("made by open", made = open("d/bulkhead-test-by-open", O_CREAT | O_RDWR, 0600));
	close(made);
	err("unlink that", unlink("d/bulkhead-test-by-open"));
	err("unlink", unlink(path));
	err("gone", mq_unlink(name));
	close(fd);
	mq_close(q);
	err("umount", umount(dir));
}

const struct row mqueue_rows[] = {{"mqueue.basics", basics}, {"mqueue.limits", limits}, {"mqueue.waiting", waiting}, {"mqueue.notices", notices}, {"mqueue.mounted", mounted}, {0, 0}};
