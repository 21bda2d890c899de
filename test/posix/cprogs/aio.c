#include "cprogs.h"
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/eventfd.h>

static long setup(unsigned n, aio_context_t *c) { return syscall(SYS_io_setup, n, c); }
static long destroy(aio_context_t c) { return syscall(SYS_io_destroy, c); }
static long submit(aio_context_t c, long n, struct iocb **l) { return syscall(SYS_io_submit, c, n, l); }
static long one(aio_context_t c, struct iocb *i) { return submit(c, 1, &i); }
static long getevents(aio_context_t c, long min, long max, struct io_event *e, struct timespec *t)
{
	return syscall(SYS_io_getevents, c, min, max, e, t);
}

static struct iocb make(int op, int fd, void *buf, size_t n, long off, long data)
{
	return (struct iocb){.aio_lio_opcode = op, .aio_fildes = fd, .aio_buf = (uintptr_t)buf, .aio_nbytes = n, .aio_offset = off, .aio_data = data, .aio_key = 77};
}

static struct timespec soon = {5, 0}, nowait;

/* reap prints n ends in the order in which they were asked for. */
static void reap(aio_context_t c, int n)
{
	struct io_event e[16];
	int have = 0;
	while (have < n) {
		long r = getevents(c, 1, n - have, e + have, &soon);
		if (r <= 0) {
			err("getevents", r);
			return;
		}
		have += r;
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			if (e[j].data == (unsigned)i)
				say("  end %d: %lld %lld", i, (long long)e[j].res, (long long)e[j].res2);
	err("  and no more", getevents(c, 0, 1, e, &nowait) == 0 ? 0 : -1);
}

static void aio_files(void)
{
	aio_context_t c = 0, bad = 1;
	err("nothing", setup(0, &c));
	err("not zero", setup(4, &bad));
	err("no address", setup(4, (void *)8));
	err("too many", setup(1 << 27, &c));
	err("setup", setup(8, &c));
	int fd = open("f", O_CREAT | O_RDWR, 0644), ro = open("f", O_RDONLY), wo = open("f", O_WRONLY);
	char a[] = "hello", b[] = " world", in[16] = "", big[100000];
	memset(big, 'x', sizeof big);
	struct iovec v[2] = {{in, 3}, {in + 8, 4}};
	struct iocb w0 = make(IOCB_CMD_PWRITE, fd, a, 5, 0, 0), w1 = make(IOCB_CMD_PWRITE, wo, b, 6, 5, 1),
		    w2 = make(IOCB_CMD_PWRITE, fd, big, sizeof big, 4096, 2), s = make(IOCB_CMD_FSYNC, fd, 0, 0, 0, 3);
	struct iocb *l[] = {&w0, &w1, &w2, &s};
	say("submit %ld", submit(c, 4, l));
	say("key %u", w0.aio_key);
	reap(c, 4);
	struct iocb r0 = make(IOCB_CMD_PREADV, ro, v, 2, 2, 0), r1 = make(IOCB_CMD_PREAD, ro, big, sizeof big, 4000, 1),
		    r2 = make(IOCB_CMD_PREAD, ro, (void *)8, 4, 0, 2), r3 = make(IOCB_CMD_PREAD, ro, big, 4, 1 << 20, 3);
	struct iocb *r[] = {&r0, &r1, &r2, &r3};
	memset(big, 0, sizeof big);
	say("submit %ld", submit(c, 4, r));
	reap(c, 4);
	say("read %.3s, %.4s, %d %d", in, in + 8, big[95], big[96]);
	struct iocb x = make(IOCB_CMD_PREAD, wo, big, 4, 0, 0);
	err("read of what is only written", one(c, &x));
	x = make(IOCB_CMD_PWRITE, ro, big, 4, 0, 0);
	err("write of what is only read", one(c, &x));
	x = make(IOCB_CMD_PREAD, 99, big, 4, 0, 0);
	err("no descriptor", one(c, &x));
	x = make(IOCB_CMD_PREAD, ro, big, 4, -1, 0);
	err("below the start", one(c, &x));
	x = make(99, ro, big, 4, 0, 0);
	err("no command", one(c, &x));
	x = make(IOCB_CMD_PREAD, ro, big, 4, 0, 0);
	x.aio_reserved2 = 1;
	err("reserved", one(c, &x));
	x = make(IOCB_CMD_FSYNC, fd, big, 0, 0, 0);
	err("fsync of memory", one(c, &x));
	struct iocb *half[] = {&r0, (void *)8};
	say("one and a bad one %ld", submit(c, 2, half));
	reap(c, 1);
	err("bad list", submit(c, 1, (void *)8));
	err("bad request", submit(c, 1, &half[1]));
	say("none %ld", submit(c, 0, l));
	err("below none", submit(c, -1, l));
	err("no context", submit(12345, 1, l));
	err("no context", getevents(12345, 0, 1, 0, &nowait));
	struct io_event e;
	err("least above most", getevents(c, 2, 1, &e, &nowait));
	err("below zero", getevents(c, -1, 1, &e, &nowait));
	struct timespec odd = {0, -1};
	err("time", getevents(c, 0, 1, &e, &odd));
	err("timeout", getevents(c, 1, 1, &e, &(struct timespec){0, 1000000}));
	err("destroy", destroy(c));
	err("again", destroy(c));
	err("after it", one(c, &r0));
}

static void nothing(int sig) { (void)sig; }

static void aio_polls(void)
{
	aio_context_t c = 0;
	err("setup", setup(4, &c));
	int p[2], ev = eventfd(0, EFD_NONBLOCK);
	if (pipe(p) != 0)
		return;
	struct iocb x = make(IOCB_CMD_POLL, p[0], (void *)(POLLIN | POLLRDNORM), 0, 0, 0);
	x.aio_flags = IOCB_FLAG_RESFD;
	x.aio_resfd = ev;
	say("submit %ld", one(c, &x));
	struct io_event e;
	err("not yet", getevents(c, 0, 1, &e, &nowait));
	if (write(p[1], "x", 1) != 1)
		return;
	struct pollfd pf = {ev, POLLIN, 0};
	say("told %d", poll(&pf, 1, 5000));
	uint64_t n = 0;
	long got = read(ev, &n, 8);
	say("eventfd %ld %d", got, (int)n);
	reap(c, 1);
	say("at once %ld", one(c, &x));
	reap(c, 1);
	char b[4];
	struct iocb r = make(IOCB_CMD_PREAD, p[0], b, 4, 0, 0);
	say("a pipe %ld", one(c, &r));
	reap(c, 1);
	x.aio_flags = 0;
	say("submit %ld", one(c, &x));
	err("cancel another", syscall(SYS_io_cancel, c, &r, &e));
	err("cancel", syscall(SYS_io_cancel, c, &x, &e));
	reap(c, 1);
	err("cancel again", syscall(SYS_io_cancel, c, &x, &e));
	x.aio_flags = IOCB_FLAG_RESFD;
	x.aio_resfd = p[0];
	err("told by a pipe", one(c, &x));
	x.aio_resfd = 99;
	err("told by nobody", one(c, &x));
	x.aio_flags = 0;
	say("submit %ld", one(c, &x));
	signal(SIGALRM, nothing);
	ualarm(20000, 900000); /* again, should the call not have begun by then */
	err("a signal", getevents(c, 1, 1, &e, 0));
	sigset_t s;
	sigfillset(&s);
	struct {
		sigset_t *s;
		size_t n;
	} arg = {&s, 8};
	ualarm(20000, 0);
	err("blocked", syscall(SYS_io_pgetevents, c, 1, 1, &e, &(struct timespec){0, 60000000}, &arg));
	int ws;
	if (fork() == 0) {
		err("a child has none", getevents(c, 0, 1, &e, &nowait));
		aio_context_t own = 0;
		err("but its own", setup(1, &own));
		_exit(0);
	}
	wait(&ws);
	status("child", ws);
	err("destroy with one under way", destroy(c));
}

const struct row aio_rows[] = {{"aio.files", aio_files}, {"aio.polls", aio_polls}, {0, 0}};
