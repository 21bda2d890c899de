// Things that only the kernel holds, as many as it gives. Of each kind the first
// process makes what it can, says how that ended, and leaves it.
#include "hostile.h"
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>

static char junk[1 << 20];

// until calls make with 0, 1, ... until it fails or most are made.
static long until(long most, int (*make)(long i))
{
	long i = 0;
	errno = 0;
	while (i < most && make(i) >= 0)
		i++;
	return i;
}

static int last_fd;

static int one_pipe(long i)
{
	int p[2];
	(void)i;
	if (pipe2(p, O_NONBLOCK))
		return -1;
	fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
	int n = write(p[1], junk, sizeof junk);
	return n < 0 && errno == EAGAIN ? 0 : n;
}

static int one_xattr(long i)
{
	char path[64], name[32];
	sprintf(path, "/tmp/fill/x%ld", i / 15);
	if (i % 15 == 0 && mknod(path, S_IFREG | 0600, 0))
		return -1;
	sprintf(name, "user.a%ld", i % 15);
	return setxattr(path, name, junk, 65536, 0);
}

static int one_inode(long i)
{
	char path[300];
	sprintf(path, "/tmp/fill/%0250ld", i);
	return mknod(path, S_IFREG | 0600, 0);
}

static int one_directory(long i)
{
	char path[64];
	sprintf(path, "/tmp/fill/d%ld", i);
	return mkdir(path, 0700);
}

static int one_symlink(long i)
{
	static char to[4096];
	char path[64];
	memset(to, 'a', 4095);
	sprintf(path, "/tmp/fill/l%ld", i);
	return symlink(to, path);
}

static int one_small_file(long i)
{
	char path[64];
	sprintf(path, "/tmp/fill/f%ld", i);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		return -1;
	int n = write(fd, junk, 300000);
	close(fd);
	return n;
}

static int one_absent(long i)
{
	char path[300];
	struct stat s;
	sprintf(path, "/usr/%0250ld", i);
	stat(path, &s);
	sprintf(path, "/tmp/%0250ld", i);
	stat(path, &s);
	return 0;
}

static int one_unix(long i)
{
	int s[2];
	(void)i;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s))
		return -1;
	int big = 64 << 20;
	for (int k = 0; k < 2; k++) {
		setsockopt(s[k], SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
		while (write(s[k], junk, sizeof junk) > 0)
			;
		if (errno != EAGAIN)
			return -1;
	}
	return 0;
}

static int one_datagram(long i)
{
	int s[2];
	(void)i;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s))
		return -1;
	while (write(s[0], junk, 1) > 0)
		;
	return errno == EAGAIN ? 0 : -1;
}

// Descriptors in flight, which hold more in flight: unix(7).
static int one_flight(long i)
{
	static int held = -1;
	int s[2];
	(void)i;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s))
		return -1;
	if (held >= 0) {
		char space[CMSG_SPACE(sizeof(int))] = {0};
		struct iovec v = {junk, 1};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &held, sizeof held);
		if (sendmsg(s[0], &m, 0) < 0)
			return -1;
		close(held);
	}
	close(s[0]);
	held = s[1];
	return 0;
}

static int one_epoll(long i)
{
	static int ep;
	if (i % 1000 == 0 && (ep = epoll_create1(0)) < 0)
		return -1;
	static int events[1000];
	if (i < 1000 && (events[i] = eventfd(0, 0)) < 0)
		return -1;
	struct epoll_event e = {EPOLLIN, {0}};
	return epoll_ctl(ep, EPOLL_CTL_ADD, events[i % 1000], &e);
}

static int one_watch(long i)
{
	static int in;
	char path[64];
	sprintf(path, "/tmp/fill/w%ld", i);
	if (i == 0 && (in = inotify_init()) < 0)
		return -1;
	if (mknod(path, S_IFREG | 0600, 0))
		return -1;
	return inotify_add_watch(in, path, IN_ALL_EVENTS);
}

static int one_timer(long i)
{
	timer_t t;
	(void)i;
	return timer_create(CLOCK_MONOTONIC, 0, &t);
}

static int one_signal(long i)
{
	union sigval v = {0};
	(void)i;
	return sigqueue(getpid(), SIGRTMIN + 1, v);
}

static int one_mqueue(long i)
{
	char name[32];
	struct mq_attr a = {.mq_maxmsg = 10, .mq_msgsize = 8192};
	sprintf(name, "/q%ld", i);
	mqd_t q = mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &a);
	if (q < 0)
		return -1;
	for (int k = 0; k < 10; k++)
		mq_send(q, junk, 8192, 0);
	return 0;
}

static int one_msg(long i)
{
	static int id;
	static struct { long type; char text[8192]; } m = {1, ""};
	if (i % 2 == 0 && (id = msgget(IPC_PRIVATE, 0600)) < 0)
		return -1;
	return msgsnd(id, &m, 8192, IPC_NOWAIT);
}

static int one_sem(long i)
{
	(void)i;
	return semget(IPC_PRIVATE, 32000, 0600);
}

static int one_event(long i)
{
	if (eventfd(0, 0) < 0)
		return errno == EMFILE && fork() == 0 ? close_range(3, ~0u, 0), 0 : -1;
	return i * 0;
}

static int one_dup(long i)
{
	if (dup(0) >= 0)
		return 0;
	if (errno != EMFILE)
		return -1;
	pid_t pid = fork(); // which has them all, too
	if (pid == 0)
		for (;;)
			pause();
	return pid < 0 ? -1 : i * 0;
}

static int one_lock(long i)
{
	struct flock l = {F_WRLCK, SEEK_SET, i * 2, 1, 0};
	if (i == 0)
		last_fd = open("/tmp/fill/locked", O_CREAT | O_RDWR, 0600);
	return fcntl(last_fd, F_SETLK, &l);
}

static int one_mount(long i)
{
	(void)i;
	return mount("none", "/tmp/fill", "tmpfs", 0, 0);
}

static int one_namespace(long i)
{
	(void)i;
	return unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS) ? -1 : open("/proc/self/ns/mnt", O_RDONLY);
}

// Groups are bounded, and so is what hangs on all of them.
static int one_cgroup(long i)
{
	char path[64];
	if (i == 0 && mount("none", "/tmp/fill", "cgroup2", 0, 0))
		return -1;
	sprintf(path, "/tmp/fill/g%ld", i);
	if (mkdir(path, 0700))
		return -1;
	DIR *d = opendir(path);
	while (d && readdir(d))
		;
	closedir(d);
	setxattr(path, "user.a", junk, 65536, 0);
	return 0;
}

static int one_netlink(long i)
{
	struct { struct nlmsghdr h; char family; } dump = {{sizeof dump, 22, NLM_F_REQUEST | NLM_F_DUMP, 0, 0}, 0}; // RTM_GETADDR
	(void)i;
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (s < 0)
		return -1;
	for (int k = 0; k < 100 && send(s, &dump, sizeof dump, 0) > 0; k++)
		;
	return 0;
}

static int one_region(long i)
{
	static char *p;
	if (i % 60000 == 0) {
		if (i && fork()) // another address space, with all of it
			for (;;)
				pause();
		p = mmap(0, 60000UL * 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	return mprotect(p + i % 60000 * 8192, 4096, PROT_READ);
}

static int one_filter(long i)
{
	static struct sock_filter f[4096];
	(void)i;
	for (int k = 0; k < 4096; k++)
		f[k] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog p = {4096, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		return 0;
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	return -1;
}

static int one_pty(long i)
{
	(void)i;
	int m = open("/dev/ptmx", O_RDWR | O_NONBLOCK | O_NOCTTY);
	if (m < 0)
		return -1;
	// A line without an end is accepted for ever, and what is too much of it dropped.
	for (int k = 0; k < 64 && write(m, junk, 4096) > 0; k++)
		;
	return 0;
}

static int one_tcp(long i)
{
	static int l;
	static struct sockaddr_in a = {AF_INET, 0, {0}, {0}};
	socklen_t n = sizeof a;
	if (i % 20000 == 0) {
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK), a.sin_port = 0;
		l = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(l, (void *)&a, n) || listen(l, 100) || getsockname(l, (void *)&a, &n))
			return -1;
	}
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0 || connect(s, (void *)&a, n))
		return -1;
	int o = accept4(l, 0, 0, SOCK_NONBLOCK), big = 64 << 20;
	if (o < 0)
		return -1;
	setsockopt(o, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	while (write(o, junk, sizeof junk) > 0)
		;
	return errno == EAGAIN ? 0 : -1;
}

static int one_udp(long i)
{
	struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
	socklen_t n = sizeof a;
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), big = 64 << 20;
	(void)i;
	if (s < 0 || bind(s, (void *)&a, n) || getsockname(s, (void *)&a, &n))
		return -1;
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
	for (int k = 0; k < 20; k++)
		sendto(s, junk, 60000, 0, (void *)&a, n);
	return 0;
}

static int one_memfd(long i)
{
	int fd = memfd_create("fill", 0);
	if (fd < 0)
		return -1;
	if (i % 2) {
		for (int k = 0; k < 16; k++)
			if (write(fd, junk, sizeof junk) < 0)
				return -1;
		return 0;
	}
	return pwrite(fd, junk, 1, (1 << 20) - 1);
}

enum { HUGE = 1 << 30 };

// fault_in has a child write to a mapping, which the kernel cannot see, until there is
// no more for it: it is ended for that.
static int fault_in(void *(*map)(int), int what)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		char *p = map(what);
		for (long at = 0; at < HUGE; at += 4096)
			p[at] = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	errno = ENOMEM;
	return status ? -1 : 0;
}

static void *map_fd(int fd) { return mmap(0, HUGE, 3, MAP_SHARED, fd, 0); }

static int one_mapped(long i)
{
	int fd = memfd_create("fill", 0);
	(void)i;
	return fd < 0 || ftruncate(fd, HUGE) ? -1 : fault_in(map_fd, fd);
}

static void *attach(int id) { return shmat(id, 0, 0); }

static int one_segment(long i)
{
	int id = shmget(IPC_PRIVATE, HUGE, 0600);
	(void)i;
	if (id < 0)
		return -1;
	int r = fault_in(attach, id);
	shmctl(id, IPC_RMID, 0);
	return r;
}

// one_text reads of files whose text is made when they are read: opened before there was much
// to tell.
static int one_text(long i)
{
	static int fds[4096];
	char c;
	if (i == 0) {
		for (int k = 0; k < 4096; k++)
			fds[k] = open("/proc/self/maps", O_RDONLY);
		char *p = mmap(0, 25000UL * 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		for (int k = 0; k < 25000; k++)
			if (mprotect(p + k * 8192, 4096, PROT_READ))
				return -1;
	}
	return read(fds[i], &c, 1) == 1 ? 0 : -1;
}

static struct pollfd many[1 << 19];
static int poll_failed, poll_pipe[2];
static pthread_barrier_t all_there;

static void *polls(void *arg)
{
	pthread_barrier_wait(&all_there);
	if (poll(many, sizeof many / sizeof *many, -1) < 0)
		poll_failed = errno;
	return arg;
}

// one_poll has threads, which are there already, wait for very many files, which are one.
static int one_poll(long i)
{
	enum { THREADS = 100 };
	pthread_t t;
	if (i == 0) {
		if (pipe(poll_pipe))
			return -1;
		for (size_t k = 0; k < sizeof many / sizeof *many; k++)
			many[k] = (struct pollfd){poll_pipe[0], POLLIN, 0};
		pthread_barrier_init(&all_there, 0, THREADS + 1);
		for (int k = 0; k < THREADS; k++)
			if ((errno = pthread_create(&t, 0, polls, 0)))
				return -1;
		pthread_barrier_wait(&all_there);
	}
	usleep(100000);
	return (errno = poll_failed) ? -1 : 0;
}

// one_locked has every other page locked, which is no change for anybody else.
static int one_locked(long i)
{
	static char *p;
	if (i == 0)
		p = mmap(0, (1UL << 20) * 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	mlock(p + i * 8192, 4096);
	return 0;
}

// one_named gives every page a name.
static int one_named(long i)
{
	static char *p;
	char name[80];
	if (i == 0)
		p = mmap(0, (1UL << 20) * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	sprintf(name, "%078ld", i);
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p + i * 4096, 4096, name);
}

static void *sleeps(void *arg)
{
	for (;;)
		pause();
	return arg;
}

// one_kill sends a signal, which nobody takes, to one thread of many.
static int one_kill(long i)
{
	enum { THREADS = 500 };
	static pid_t first;
	pthread_attr_t small;
	pthread_t t;
	if (i == 0) {
		pthread_attr_init(&small);
		pthread_attr_setstacksize(&small, 65536);
		first = getpid();
		for (int k = 0; k < THREADS; k++)
			if ((errno = pthread_create(&t, &small, sleeps, 0)))
				return -1;
	}
	if (syscall(SYS_tgkill, getpid(), first + 1 + i / 30000 % THREADS, SIGRTMIN + 3) == 0 || errno == ESRCH)
		return 0;
	return -1;
}

static void *groups(void *result)
{
	static const gid_t many[65536];
	int r = syscall(SYS_setgroups, sizeof many / sizeof *many, many);
	*(volatile int *)result = r ? errno : -1;
	return sleeps(0);
}

// one_groups has a thread with as many groups as there can be.
static int one_groups(long i)
{
	volatile int result = 0;
	pthread_attr_t small;
	pthread_t t;
	(void)i;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	if ((errno = pthread_create(&t, &small, groups, (void *)&result)))
		return -1;
	while (!result)
		usleep(100);
	errno = result;
	return result < 0 ? 0 : -1;
}

static const struct {
	const char *name;
	long most;
	int (*make)(long);
} kinds[] = {
	{"pipes", 1 << 20, one_pipe},
	{"xattrs", 1 << 20, one_xattr},
	{"inodes", 1 << 24, one_inode},
	{"directories", 1 << 24, one_directory},
	{"symlinks", 1 << 24, one_symlink},
	{"small-files", 1 << 24, one_small_file},
	{"absent", 1 << 18, one_absent},
	{"unix", 1 << 20, one_unix},
	{"datagrams", 1 << 20, one_datagram},
	{"flight", 1 << 20, one_flight},
	{"epoll", 1 << 24, one_epoll},
	{"watches", 1 << 22, one_watch},
	{"timers", 1 << 22, one_timer},
	{"signals", 1 << 22, one_signal},
	{"mqueues", 1 << 20, one_mqueue},
	{"messages", 1 << 20, one_msg},
	{"semaphores", 1 << 20, one_sem},
	{"events", 1 << 23, one_event},
	{"dups", 1 << 24, one_dup},
	{"locks", 1 << 23, one_lock},
	{"mounts", 1 << 20, one_mount},
	{"namespaces", 1 << 20, one_namespace},
	{"cgroups", 1 << 18, one_cgroup},
	{"netlink", 1 << 18, one_netlink},
	{"regions", 1 << 24, one_region},
	{"filters", 1 << 16, one_filter},
	{"ptys", 1 << 16, one_pty},
	{"tcp", 1 << 16, one_tcp},
	{"udp", 1 << 16, one_udp},
	{"memfds", 1 << 16, one_memfd},
	{"texts", 4096, one_text},
	{"polls", 100, one_poll},
	{"locked", 1 << 20, one_locked},
	{"named", 1 << 20, one_named},
	{"kills", 1 << 23, one_kill},
	{"mapped", 64, one_mapped},
	{"segments", 64, one_segment},
	{"groups", 4096, one_groups},
};

// remove_queues removes the message queues, which no process's end does.
static void remove_queues(void)
{
	struct msginfo all;
	struct msqid_ds one;
	int last = msgctl(0, MSG_INFO, (struct msqid_ds *)&all);
	for (int i = 0; i <= last; i++)
		msgctl(msgctl(i, MSG_STAT, &one), IPC_RMID, 0);
}

// fill makes as many of the kind as it gets and says how that ended; and, when all of
// it is gone again, that there is room.
int fill(const char *kind)
{
	struct rlimit files = {1 << 20, 1 << 20};
	if (!strcmp(kind, "list")) {
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
			puts(kinds[k].name);
		return 0;
	}
	if (getpid() != 1) { // it ends all processes that it can see
		fputs("fill: only as the first process of a sandbox\n", stderr);
		return 1;
	}
	// Where nothing more may be made, nothing may be written to a pipe.
	volatile struct { long made; int error, done; } *said = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		if (strcmp(kind, kinds[k].name))
			continue;
		mkdir("/tmp/fill", 0700);
		mount("none", "/tmp/fill", "tmpfs", 0, 0);
		pid_t pid = fork();
		if (pid == 0) {
			sigset_t all;
			sigfillset(&all);
			sigprocmask(SIG_SETMASK, &all, 0);
			said->made = until(kinds[k].most, kinds[k].make);
			said->error = said->made < kinds[k].most ? errno : 0;
			said->done = 1;
			for (;;)
				pause();
		}
		while (pid > 0 && !said->done)
			usleep(1000);
		printf("%s %ld: %s\n", kind, said->made, strerror(said->error));
	}
	while (read(0, junk, 1) > 0)
		;
	kill(-1, SIGKILL);
	while (wait(0) > 0 || errno == EINTR)
		;
	while (!umount2("/tmp/fill", MNT_DETACH))
		;
	remove_queues();
	for (int i = 0; i < 2000; i++) {
		int p[2];
		if (!pipe(p) && write(p[1], "x", 1) == 1) {
			puts("room");
			return 42;
		}
		usleep(10000);
	}
	puts("no room");
	return 1;
}
