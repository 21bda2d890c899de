/* Calls and options of Linux 6.7 to 6.17, which a host may not have yet: newer_known. */
#include "cprogs.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define PAGE 4096ul

enum { SYS_cachestat_ = 451, SYS_futex_wake_ = 454, SYS_futex_wait_, SYS_futex_requeue_, SYS_statmount_, SYS_listmount_, SYS_mseal_ = 462 };
enum { F_DUPFD_QUERY_ = 1027, F_CREATED_QUERY_, F_GET_RW_HINT_ = 1035, F_SET_RW_HINT_, F_GET_FILE_RW_HINT_ };

static char *pages(int n, int prot)
{
	return mmap(0, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void sealed(void)
{
	char *p = pages(8, PROT_READ | PROT_WRITE);
	for (int i = 0; i < 16; i++) /* the kernel may have left such memory to its own stub */
		munmap(pages(2, PROT_READ), 2 * PAGE);
	err("flags", syscall(SYS_mseal_, p, PAGE, 1));
	err("unaligned", syscall(SYS_mseal_, p + 1, PAGE, 0));
	err("nothing", syscall(SYS_mseal_, p, 0, 0));
	err("too long", syscall(SYS_mseal_, p, -1ul, 0));
	munmap(p + 7 * PAGE, PAGE);
	err("a hole", syscall(SYS_mseal_, p + 6 * PAGE, 2 * PAGE, 0));
	p[2 * PAGE] = 'x';
	err("two pages", syscall(SYS_mseal_, p + 2 * PAGE, 2 * PAGE - 1, 0));
	err("again", syscall(SYS_mseal_, p + 2 * PAGE, PAGE, 0));
	err("mprotect", mprotect(p + 2 * PAGE, PAGE, PROT_READ));
	err("mprotect around", mprotect(p, 6 * PAGE, PROT_READ));
	err("munmap", munmap(p + 3 * PAGE, PAGE));
	err("munmap around", munmap(p + 1 * PAGE, 4 * PAGE));
	err("mmap over", mmap(p + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
	err("mremap", mremap(p + 2 * PAGE, PAGE, 4 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
	err("shrink", mremap(p + 2 * PAGE, 2 * PAGE, PAGE, 0) == MAP_FAILED ? -1 : 0);
	err("move there", mremap(p + 6 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * PAGE) == MAP_FAILED ? -1 : 0);
	err("drop what can be written", madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED));
	p[2 * PAGE] = 'y';
	char *r = pages(2, PROT_READ);
	err("read only", syscall(SYS_mseal_, r, PAGE, 0));
	err("drop", madvise(r, PAGE, MADV_DONTNEED));
	err("want", madvise(r, PAGE, MADV_WILLNEED));
	if (fork() == 0) {
		err("child: munmap", munmap(p + 2 * PAGE, PAGE));
		say("%c", p[2 * PAGE]);
		_exit(0);
	}
	wait(0);
	err("beside it", munmap(p, 2 * PAGE) | munmap(p + 4 * PAGE, 2 * PAGE));
}

#define MADV_GUARD_INSTALL_ 102
#define MADV_GUARD_REMOVE_ 103
static sigjmp_buf back;

static void hit(int sig)
{
	siglongjmp(back, sig);
}

static void touch(const char *what, volatile char *p)
{
	int sig = sigsetjmp(back, 1);
	if (!sig)
		say("%s: %d", what, *p);
	else
		say("%s: signal %d", what, sig);
}

static void guarded(void)
{
	signal(SIGSEGV, hit);
	char *p = pages(5, PROT_READ | PROT_WRITE);
	memset(p, 7, 4 * PAGE);
	munmap(p + 4 * PAGE, PAGE);
	err("install", madvise(p + PAGE, PAGE, MADV_GUARD_INSTALL_));
	touch("before", p);
	touch("guard", p + PAGE);
	touch("after", p + 2 * PAGE);
	err("written into", read(open("/dev/zero", O_RDONLY), p + PAGE, 8));
	err("remove", madvise(p + PAGE, PAGE, MADV_GUARD_REMOVE_));
	touch("removed", p + PAGE);
	err("a hole", madvise(p + 3 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL_));
	err("mergeable", madvise(p, PAGE, MADV_MERGEABLE));
	err("mergeable, unaligned", madvise(p + 1, PAGE, MADV_MERGEABLE));
}

/* struct futex_waitv of linux/futex.h */
struct waiter_ {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};
static uint32_t words[2];
enum { U32 = 2, PRIVATE = 128 };

static void *waits(void *flags)
{
	long r = syscall(SYS_futex_wait_, words, 0, ~0u, (long)flags, 0, CLOCK_MONOTONIC);
	return (void *)(r == -1 ? -errno : r);
}

static void caught(int sig)
{
	say("signal %d", sig);
}

static void futexes(void)
{
	pthread_t t;
	void *r;
	for (int private = 0; private < 2; private++) {
		long flags = U32 | (private ? PRIVATE : 0);
		pthread_create(&t, 0, waits, (void *)flags);
		while (syscall(SYS_futex_wake_, words, ~0u, 1, flags) == 0)
			msleep(1);
		pthread_join(t, &r);
		say("woken: %ld", (long)r);
		pthread_create(&t, 0, waits, (void *)flags);
		struct waiter_ w[2] = {{0, (uintptr_t)words, flags, 0}, {0, (uintptr_t)(words + 1), flags, 0}};
		while (syscall(SYS_futex_requeue_, w, 0, 0, 1) == 0)
			msleep(1);
		say("on the other: %ld", syscall(SYS_futex_wake_, words + 1, ~0u, 1, flags));
		pthread_join(t, &r);
		say("woken: %ld", (long)r);
	}
	struct timespec past = {1, 0};
	err("another value", syscall(SYS_futex_wait_, words, 1, ~0u, U32 | PRIVATE, 0, 0));
	err("past", syscall(SYS_futex_wait_, words, 0, ~0u, U32 | PRIVATE, &past, CLOCK_MONOTONIC));
	err("no size", syscall(SYS_futex_wake_, words, ~0u, 1, 0));
	err("no mask", syscall(SYS_futex_wake_, words, 0ul, 1, U32));
	err("unaligned", syscall(SYS_futex_wake_, (char *)words + 1, 1ul, 1, U32));
	struct sigaction a = {.sa_handler = caught};
	sigaction(SIGALRM, &a, 0);
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 20000}}, 0);
	err("interrupted", syscall(SYS_futex_wait_, words, 0, ~0u, U32 | PRIVATE, 0, 0));
	struct timespec soon;
	a.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &a, 0);
	clock_gettime(CLOCK_MONOTONIC, &soon);
	soon.tv_sec += 1;
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 20000}}, 0);
	err("restarted", syscall(SYS_futex_wait_, words, 0, ~0u, U32 | PRIVATE, &soon, CLOCK_MONOTONIC));
}

struct cachestat_ {
	uint64_t cache, dirty, writeback, evicted, recently;
};

static void cached(void)
{
	struct { uint64_t off, len; } range = {0, 0};
	struct cachestat_ c;
	int fd = memfd_create("x", 0);
	if (ftruncate(fd, 8 * PAGE) < 0 || pwrite(fd, "x", 1, 0) < 0)
		perror("memfd");
	for (int i = 0; i < 8; i++)
		if (pwrite(fd, "x", 1, i * PAGE) < 0)
			perror("pwrite");
	struct { uint64_t off, len; } ranges[] = {{0, 0}, {0, PAGE}, {1, PAGE}, {PAGE, 0}, {7 * PAGE, 100 * PAGE}, {8 * PAGE, 0}, {-1ul, 5}};
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		memset(&c, 1, sizeof c);
		err("cachestat", syscall(SYS_cachestat_, fd, &ranges[i], &c, 0));
		say("%ld %ld", (long)(c.cache + c.evicted), (long)c.writeback);
	}
	err("no file", syscall(SYS_cachestat_, -1, &range, &c, 0));
	err("no range", syscall(SYS_cachestat_, fd, 0, &c, 0));
	err("no room", syscall(SYS_cachestat_, fd, &range, 8, 0));
	err("flags", syscall(SYS_cachestat_, fd, &range, &c, 1));
	err("a directory", syscall(SYS_cachestat_, open("/", O_RDONLY), &range, &c, 0));
	say("%ld", (long)c.cache);
	int p[2];
	if (pipe(p) == 0)
		err("a pipe", syscall(SYS_cachestat_, p[0], &range, &c, 0));
}

struct mnt_id_req_ {
	uint32_t size, spare;
	uint64_t id, param, ns;
};

static void mounts(void)
{
	struct statx x;
	uint64_t ids[1000], first[1];
	err("statx", statx(AT_FDCWD, "/proc", 0, 0x4000 /* STATX_MNT_ID_UNIQUE */, &x));
	say("unique: %d", (x.stx_mask & 0x5000) == 0x4000 && x.stx_mnt_id > 1u << 31);
	struct mnt_id_req_ q = {24, 0, -1ul, 0, 0};
	long n = syscall(SYS_listmount_, &q, ids, 1000, 0);
	int there = 0, ordered = 1;
	for (long i = 0; i < n; i++) {
		there += ids[i] == x.stx_mnt_id;
		ordered &= i == 0 || ids[i] > ids[i - 1];
	}
	say("listed once: %d, in order: %d", there, ordered);
	q.param = x.stx_mnt_id - 1;
	say("from there: %ld %d", syscall(SYS_listmount_, &q, first, 1, 0), first[0] == x.stx_mnt_id);
	q.param = x.stx_mnt_id + 1;
	say("backwards: %ld %d", syscall(SYS_listmount_, &q, first, 1, 1), first[0] == x.stx_mnt_id);
	q.param = 1;
	err("an old id", syscall(SYS_listmount_, &q, ids, 1, 0));
	q.param = 0;
	err("flags", syscall(SYS_listmount_, &q, ids, 1, 2));
	err("too many", syscall(SYS_listmount_, &q, ids, 1000001, 0));
	err("no room", syscall(SYS_listmount_, &q, 8, 1000, 0));
	q.id = 1ul << 50;
	err("no such mount", syscall(SYS_listmount_, &q, ids, 1, 0));
	q.id = 5;
	err("an old mount", syscall(SYS_listmount_, &q, ids, 1, 0));
	q.size = 8;
	err("a short request", syscall(SYS_listmount_, &q, ids, 1, 0));
	q.size = 5000;
	err("a long request", syscall(SYS_listmount_, &q, ids, 1, 0));
	q = (struct mnt_id_req_){24, 0, x.stx_mnt_id, 0x3b, 0};
	static char room[4096];
	err("statmount", syscall(SYS_statmount_, &q, room, sizeof room, 0));
	uint32_t *w = (void *)room;
	char *text = room + 512;
	say("mask %#lx magic %#lx type %s root %s point %s", *(long *)(room + 8), *(long *)(room + 24), text + w[9], text + w[26], text + w[27]);
	say("its id: %d, as long as it says: %d", *(uint64_t *)(room + 40) == x.stx_mnt_id, w[0] > 512);
	err("no room", syscall(SYS_statmount_, &q, room, 512, 0));
	q.param = 2;
	err("few bytes", syscall(SYS_statmount_, &q, room, 48, 0));
	err("flags", syscall(SYS_statmount_, &q, room, sizeof room, 1));
	err("nowhere", syscall(SYS_statmount_, &q, 8, sizeof room, 0));
	q.id++;
	q.id += 1ul << 50;
	err("no such mount", syscall(SYS_statmount_, &q, room, sizeof room, 0));
}

/* Those of another's namespace, which only who may mount there is told of. */
static void their_mounts(void)
{
	static uint64_t ids[1000];
	struct mnt_id_req_ q = {32, 0, ~0ul, 0, 0};
	int up[2], down[2], fd, ws;
	char c, name[64];
	pipe(up);
	pipe(down);
	pid_t p = fork();
	if (p == 0) {
		unshare(CLONE_NEWNS);
		mount(0, "/", 0, MS_PRIVATE | MS_REC, 0);
		mount("none", "/tmp", "tmpfs", 0, 0);
		write(up[1], "", 1);
		read(down[0], &c, 1);
		_exit(0);
	}
	read(up[0], &c, 1);
	snprintf(name, sizeof name, "/proc/%d/ns/mnt", p);
	err("number", ioctl(fd = open(name, O_RDONLY), 0x8008b705, &q.ns)); /* NS_GET_MNTNS_ID */
	long here, there = syscall(SYS_listmount_, &q, ids, 1000, 0);
	uint64_t ns = q.ns;
	q.ns = 0;
	here = syscall(SYS_listmount_, &q, ids + there, 1000 - there, 0);
	say("one more there: %d", there == here + 1);
	q = (struct mnt_id_req_){32, 0, ids[there - 1], 0x40 | 0x10, ns}; /* STATMOUNT_MNT_NS_ID, STATMOUNT_MNT_POINT */
	static char room[4096];
	err("statmount", syscall(SYS_statmount_, &q, room, sizeof room, 0));
	say("its namespace: %d, at %s", *(uint64_t *)(room + 112) == ns, room + 512 + ((uint32_t *)room)[27]);
	q.ns = 0;
	err("not here", syscall(SYS_statmount_, &q, room, sizeof room, 0));
	q.ns = 77;
	err("nobody's", syscall(SYS_statmount_, &q, room, sizeof room, 0));
	q.ns = ns;
	setuid(1000);
	long r = syscall(SYS_statmount_, &q, room, sizeof room, 0); /* EPERM since Linux 6.19 and what was made of it */
	say("powerless: refused %d", r == -1 && (errno == EPERM || errno == ENOENT));
	q.id = ~0ul;
	q.param = 0;
	err("nor a list", syscall(SYS_listmount_, &q, ids, 1000, 0));
	write(down[1], "", 1);
	waitpid(p, &ws, 0);
	close(fd);
}

static void fcntls(void)
{
	int made = open("f", O_CREAT | O_RDWR, 0600), not = open("f", O_CREAT | O_RDWR, 0600), path = open("f", O_PATH);
	say("created: %d %d %d", fcntl(made, F_CREATED_QUERY_, 0), fcntl(not, F_CREATED_QUERY_, 0), fcntl(path, F_CREATED_QUERY_, 0));
	say("one file: %d %d", fcntl(made, F_DUPFD_QUERY_, made), fcntl(made, F_DUPFD_QUERY_, not));
	int other = dup(made);
	say("a duplicate: %d", fcntl(made, F_DUPFD_QUERY_, other));
	err("none", fcntl(made, F_DUPFD_QUERY_, 999));
	uint64_t hint = 77;
	err("get", fcntl(made, F_GET_RW_HINT_, &hint));
	say("%ld", (long)hint);
	hint = 3;
	err("set", fcntl(made, F_SET_RW_HINT_, &hint));
	hint = 0;
	err("get", fcntl(not, F_GET_RW_HINT_, &hint));
	say("%ld", (long)hint);
	hint = 6;
	err("too much", fcntl(made, F_SET_RW_HINT_, &hint));
	err("nowhere", fcntl(made, F_SET_RW_HINT_, 8));
	err("a file's own", fcntl(made, F_GET_FILE_RW_HINT_, &hint));
	struct flock l = {.l_type = F_RDLCK, .l_start = 10, .l_len = 10};
	err("lock", fcntl(made, F_OFD_SETLK, &l));
	for (int start = 0; start < 30; start += 10) {
		l = (struct flock){.l_type = F_UNLCK, .l_start = start, .l_len = 15};
		err("own", fcntl(made, F_OFD_GETLK, &l));
		say("%d %ld %ld %d", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid);
	}
	l = (struct flock){.l_type = F_UNLCK};
	err("another's", fcntl(not, F_OFD_GETLK, &l));
	say("%d", l.l_type);
	err("of a process", fcntl(made, F_GETLK, &l));
	err("LOCK_MAND", flock(made, 32 | LOCK_SH));
}

static void infos(void)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	int fds[] = {eventfd(0x1234, EFD_SEMAPHORE), signalfd(-1, &s, 0)};
	for (int i = 0; i < 2; i++) {
		char name[40], line[200];
		sprintf(name, "/proc/self/fdinfo/%d", fds[i]);
		FILE *f = fopen(name, "r");
		while (fgets(line, sizeof line, f)) {
			line[strcspn(line, "\n")] = 0;
			if (strncmp(line, "ino", 3) && strncmp(line, "mnt_id", 6))
				say("%s", strncmp(line, "eventfd-id", 10) ? line : "eventfd-id");
		}
		fclose(f);
	}
}

static volatile int notices;

static void noticed(int sig)
{
	(void)sig;
	notices++;
}

/* What F_NOTIFY asks for comes to what was asked for before. */
static void notify(void)
{
	signal(SIGIO, noticed);
	int d = open(".", O_RDONLY);
	err("deletions", fcntl(d, F_NOTIFY, 0x8 | 0x80000000));
	err("and creations", fcntl(d, F_NOTIFY, 0x4));
	close(open("a", O_CREAT, 0600));
	for (int i = 0; notices < 1 && i < 20000; i++)
		msleep(1);
	unlink("a");
	for (int i = 0; notices < 2 && i < 20000; i++)
		msleep(1);
	say("%d", notices);
	err("nothing", fcntl(d, F_NOTIFY, 0));
	err("a file", fcntl(open("a", O_CREAT | O_RDWR, 0600), F_NOTIFY, 0x4));
	say("%d", notices);
}

#define EPIOCSPARAMS_ 0x40088a01
#define EPIOCGPARAMS_ 0x80088a02

static void params(void)
{
	struct { uint32_t usecs; uint16_t budget; uint8_t prefer, pad; } p = {0, 0, 0, 0}, got;
	int ep = epoll_create1(0);
	memset(&got, 0xff, sizeof got);
	err("get", ioctl(ep, EPIOCGPARAMS_, &got));
	say("%u %d %d", got.usecs, got.budget, got.prefer);
	p.usecs = 100, p.budget = 30, p.prefer = 1;
	err("set", ioctl(ep, EPIOCSPARAMS_, &p));
	err("get", ioctl(ep, EPIOCGPARAMS_, &got));
	say("%u %d %d", got.usecs, got.budget, got.prefer);
	p.prefer = 2;
	err("prefer", ioctl(ep, EPIOCSPARAMS_, &p));
	p.prefer = 1, p.pad = 1;
	err("pad", ioctl(ep, EPIOCSPARAMS_, &p));
	p.pad = 0, p.usecs = 1u << 31;
	err("usecs", ioctl(ep, EPIOCSPARAMS_, &p));
	err("nowhere", ioctl(ep, EPIOCSPARAMS_, 8));
	err("another", ioctl(ep, 0x5401, &p));
}

/* whose says of which process a descriptor is. */
static void whose(const char *what, int fd, pid_t pid)
{
	char name[40], line[200];
	sprintf(name, "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(name, "r");
	int of = 0;
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Pid: %d", &of) == 1)
			break;
	if (f)
		fclose(f);
	say("%s: %d", what, of == pid);
}

enum { SO_PASSPIDFD_ = 76, SO_PEERPIDFD_, SCM_PIDFD_ = 4 };

static void senders(void)
{
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		int p[2], on = 1, got = -1;
		socklen_t n = sizeof got;
		socketpair(AF_UNIX, type, 0, p);
		err("get", getsockopt(p[0], SOL_SOCKET, SO_PASSPIDFD_, &got, &n));
		say("%d", got);
		err("set", setsockopt(p[0], SOL_SOCKET, SO_PASSPIDFD_, &on, sizeof on));
		pid_t child = fork();
		if (child == 0) {
			if (write(p[1], "x", 1) != 1)
				perror("write");
			pause();
		}
		for (int room = 2; room > 0; room--) {
			char x, control[64];
			struct iovec v = {&x, 1};
			struct msghdr m = {0, 0, &v, 1, control, room == 2 ? sizeof control : 16, 0};
			err("recvmsg", recvmsg(p[0], &m, room == 2 ? MSG_PEEK : 0));
			struct cmsghdr *c = CMSG_FIRSTHDR(&m);
			say("%d %d %d", c ? c->cmsg_type : -1, (int)m.msg_controllen, m.msg_flags & MSG_CTRUNC);
			if (!c || c->cmsg_len < CMSG_LEN(4))
				continue;
			int fd = *(int *)CMSG_DATA(c);
			whose("the sender", fd, child);
			say("closed on exec: %d", fcntl(fd, F_GETFD));
		}
		kill(child, SIGKILL);
		waitpid(child, 0, 0);
		n = sizeof got;
		err("peer", getsockopt(p[0], SOL_SOCKET, SO_PEERPIDFD_, &got, &n));
		whose("us", got, getpid());
	}
	int got, s = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t n = sizeof got;
	err("none", getsockopt(s, SOL_SOCKET, SO_PEERPIDFD_, &got, &n));
	err("a read only option", setsockopt(s, SOL_SOCKET, SO_PEERPIDFD_, &got, sizeof got));
}

#define ON_ 1
#define OFF_ 0
static void dispatch(void)
{
	err("an offset and no length", prctl(PR_SET_SYSCALL_USER_DISPATCH, ON_, 1, 0, 0));
	err("a length and no offset", prctl(PR_SET_SYSCALL_USER_DISPATCH, ON_, 0, -1ul, 0));
	err("off", prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF_, 0, 0, 0));
	int ahead = 0;
	for (int i = 0; i < 100; i++) {
		long sec, hundredths;
		FILE *f = fopen("/proc/uptime", "r");
		struct timespec t;
		if (fscanf(f, "%ld.%ld", &sec, &hundredths) != 2)
			say("no uptime");
		fclose(f);
		clock_gettime(CLOCK_BOOTTIME, &t);
		ahead += sec * 100 + hundredths > t.tv_sec * 100 + t.tv_nsec / 10000000;
	}
	say("uptime ahead: %d", ahead);
}

/* newer is what each program needs of the host: a number of a call, or 0. */
static const struct {
	const char *name;
	int nr;
} needs[] = {
	{"newer.mseal", SYS_mseal_}, {"newer.guard", -1}, {"newer.futex", SYS_futex_wake_}, {"newer.cachestat", SYS_cachestat_},
	{"newer.mounts", SYS_statmount_}, {"newer.their_mounts", -1}, {"newer.fcntl", -1}, {"newer.fdinfo", -1}, {"newer.params", -1}, {"newer.senders", -1}, {"debug.calls", -1}, {"names.xattrat", 463},
	{"pidfd.info", -1}, {"pidfd.namespaces", -1}, {"pidfd.self", -1}, {"pidfd.mountspaces", -1},
};

/* has617 says whether this is at least Linux 6.17, for what has no number to ask. */
static int has617(void)
{
	FILE *f = fopen("/proc/sys/kernel/osrelease", "r");
	int major = 0, minor = 0;
	if (f && fscanf(f, "%d.%d", &major, &minor) != 2)
		major = 0;
	if (f)
		fclose(f);
	return major > 6 || (major == 6 && minor >= 17);
}

int newer_known(const char *name)
{
	for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
		if (strcmp(needs[i].name, name) == 0)
			return has617() && (needs[i].nr < 0 || syscall(needs[i].nr, -1, -1, -1, -1) != -1 || errno != ENOSYS);
	return 1;
}

const struct row newer_rows[] = {
	{"newer.mseal", sealed},
	{"newer.guard", guarded},
	{"newer.futex", futexes},
	{"newer.cachestat", cached},
	{"newer.mounts", mounts},
	{"newer.their_mounts", their_mounts},
	{"newer.fcntl", fcntls},
	{"newer.fdinfo", infos},
	{"newer.notify", notify},
	{"newer.params", params},
	{"newer.senders", senders},
	{"newer.dispatch", dispatch},
	{0, 0},
};
