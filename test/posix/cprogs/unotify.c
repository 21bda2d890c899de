#include "cprogs.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV 32
#endif

/* listen has getppid, which every process can make, be asked about. */
static int listen_with(unsigned flags)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof f / sizeof f[0], f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}

static int listener(void) { return listen_with(SECCOMP_FILTER_FLAG_NEW_LISTENER); }

static struct seccomp_notif n;

static int receive(int fd)
{
	memset(&n, 0, sizeof n);
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &n);
}

static int answer(int fd, unsigned long id, long val, int error, unsigned flags)
{
	struct seccomp_notif_resp r = {id, val, error, flags};
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

static int valid(int fd, unsigned long id)
{
	__u64 v = id;
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &v);
}

static void ready(const char *when, int fd, int ms)
{
	struct pollfd p = {fd, POLLIN | POLLOUT, 0};
	int r = poll(&p, 1, ms);
	say("%s: poll %d, %#x", when, r, r > 0 ? p.revents : 0);
}

/* What a child has to say is said at its end, when its parent waits. */
static char said[1024];

static void tell(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(said + strlen(said), sizeof said - strlen(said), format, ap);
	va_end(ap);
}

static void ask(const char *what)
{
	errno = 0;
	long r = syscall(SYS_getppid, 1, 2, 3, 4, 5, 6);
	tell("%s: %ld %s\n", what, r, r < 0 ? strerrorname_np(errno) : "");
}

static int gate[2];

static int child(pid_t *p, void (*f)(void))
{
	pipe(gate);
	if ((*p = fork()) == 0) {
		char c;
		close(gate[1]);
		f();
		read(gate[0], &c, 1);
		say("%s", said);
		_exit(0);
	}
	return *p;
}

/* finish lets a child say what it has to. */
static int finish(pid_t p)
{
	int ws;
	close(gate[1]);
	waitpid(p, &ws, 0);
	close(gate[0]);
	return ws;
}

static void asks(void)
{
	ask("result");
	ask("error");
	ask("positive error");
	for (int e = 511; e <= 517; e++) { /* those by which the kernel has a call made again, too */
		long r = syscall(SYS_getppid);
		tell("its own: %ld %d\n", r, errno);
	}
	long r = syscall(SYS_getppid);
	tell("goes on: %d", r == getpgid(0) || r > 0);
}

static void exchange(void)
{
	unsigned short sizes[3];
	err("sizes", syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, sizes));
	say("%d %d %d", sizes[0], sizes[1], sizes[2]);
	err("sizes with flags", syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 1, sizes));
	unsigned action = SECCOMP_RET_USER_NOTIF;
	err("action", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
	err("killable without a listener", listen_with(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV));
	err("with tsync", listen_with(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC));
	int fd = listener();
	err("listener", fd);
	say("closed on exec: %d", fcntl(fd, F_GETFD));
	err("another", listener());
	ready("nobody asks", fd, 0);
	pid_t p;
	int parent = getpid();
	child(&p, asks);
	ready("a call", fd, 20000);
	n.pid = 1;
	err("dirty buffer", ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &n));
	err("no buffer", ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, 8));
	err("receive", receive(fd));
	say("pid %d flags %u nr %d arch %x args %llu %llu %llu", n.pid == p, n.flags, n.data.nr, n.data.arch, n.data.args[0], n.data.args[4], n.data.args[5]);
	say("from %d", n.data.instruction_pointer != 0);
	ready("to be answered", fd, 0);
	err("valid", valid(fd, n.id));
	err("another's", valid(fd, n.id + 1));
	err("answer to another", answer(fd, n.id + 1, 0, 0, 0));
	err("flags", answer(fd, n.id, 0, 0, 2));
	err("goes on with a result", answer(fd, n.id, 1, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
	err("answer", answer(fd, n.id, 42, 0, 0));
	receive(fd);
	err("error", answer(fd, n.id, 5, -EXDEV, 0));
	receive(fd);
	err("positive error", answer(fd, n.id, 0, 7, 0));
	for (int e = 511; e <= 517; e++) {
		receive(fd);
		err("its own", answer(fd, n.id, 0, -e, 0));
	}
	receive(fd);
	err("goes on", answer(fd, n.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
	int ws = finish(p);
	status("child", ws);
	err("unknown request", ioctl(fd, SECCOMP_IO(77), 0));
	say("%d", parent == getpid());
}

static int only; /* the parent's listener, of which a child keeps no other */

static void asks_its_parent(void)
{
	close(only);
	asks();
}

static void early(void)
{
	int fd = only = listener();
	pid_t p;
	child(&p, asks_its_parent);
	ready("a call", fd, 20000);
	err("valid before it is received", valid(fd, 1));
	close(fd); /* nobody listens */
	int ws = finish(p);
	status("child", ws);
	ask("nobody listens");
	say("%s", said);
	if (fork() == 0) {
		said[0] = 0;
		ask("nor in a child");
		say("%s", said);
		_exit(0);
	}
	wait(0);
	err("another one", listener());
}

static void deaf(void)
{
	err("filter", listen_with(0));
	ask("no listener");
	say("%s", said);
}

static void reads(void)
{
	char text[8] = "";
	long fd = syscall(SYS_getppid);
	tell("sent %ld bytes %ld\n", fd >= 0, (long)read(fd, text, 5));
	tell("%s, closed on exec %d\n", text, fcntl(fd, F_GETFD));
	tell("at a place: %ld, %ld\n", syscall(SYS_getppid), (long)read(99, text, 1));
	tell("and no more: %ld", syscall(SYS_getppid));
}

static long add(int fd, unsigned long id, int src, unsigned flags, int at, unsigned at_flags)
{
	struct seccomp_notif_addfd a = {id, flags, src, at, at_flags};
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
}

static void descriptors(void)
{
	int fd = listener(), p[2];
	pid_t c;
	child(&c, reads);
	pipe(p);
	write(p[1], "hello world", 11);
	receive(fd);
	err("flags", add(fd, n.id, p[0], 8, 0, 0));
	err("descriptor's flags", add(fd, n.id, p[0], 0, 0, O_APPEND));
	err("place without saying so", add(fd, n.id, p[0], 0, 5, 0));
	err("none", add(fd, n.id, 77, 0, 0, 0));
	err("another call", add(fd, n.id + 1, p[0], 0, 0, 0));
	struct {
		struct seccomp_notif_addfd a;
		__u64 more;
	} big = {{n.id, 0, p[0], 0, 0}, 1};
	err("more, and not 0", ioctl(fd, SECCOMP_IOW(3, typeof(big)), &big));
	err("less", ioctl(fd, SECCOMP_IOW(3, __u64), &big));
	big.more = 0;
	say("more: %d", ioctl(fd, SECCOMP_IOW(3, typeof(big)), &big) > 0);
	long r = add(fd, n.id, p[0], SECCOMP_ADDFD_FLAG_SEND, 0, O_CLOEXEC);
	err("send", r < 0 ? -1 : 0);
	err("once more", add(fd, n.id, p[0], 0, 0, 0));
	receive(fd);
	say("at 99: %ld", add(fd, n.id, p[0], SECCOMP_ADDFD_FLAG_SETFD, 99, 0));
	say("again: %ld", add(fd, n.id, p[0], SECCOMP_ADDFD_FLAG_SETFD, 99, 0));
	err("too high", add(fd, n.id, p[0], SECCOMP_ADDFD_FLAG_SETFD, 1 << 30, 0));
	answer(fd, n.id, 3, 0, 0);
	receive(fd);
	answer(fd, n.id, 0, 0, 0);
	int ws = finish(c);
	status("child", ws);
}

static int pipefd[2];
static volatile int handled;

static void handler(int sig)
{
	handled++;
	write(pipefd[1], "x", 1);
}

static void interrupted(void)
{
	struct sigaction a = {.sa_handler = handler};
	sigaction(SIGUSR1, &a, 0);
	ask("interrupted");
	a.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &a, 0);
	ask("restarted");
	tell("handled %d", handled);
}

static void signals(void)
{
	int fd = listener();
	char c;
	pipe(pipefd);
	pid_t p;
	child(&p, interrupted);
	receive(fd);
	unsigned long id = n.id;
	kill(p, SIGUSR1);
	read(pipefd[0], &c, 1);
	err("answer after a signal", answer(fd, id, 1, 0, 0));
	receive(fd);
	id = n.id;
	kill(p, SIGUSR1);
	read(pipefd[0], &c, 1);
	receive(fd);
	say("asked again: %d", n.id != id);
	err("the first", valid(fd, id));
	err("answer", answer(fd, n.id, 8, 0, 0));
	int ws = finish(p);
	status("child", ws);
	child(&p, interrupted);
	receive(fd);
	kill(p, SIGKILL);
	ws = finish(p);
	status("killed", ws);
	err("its call", valid(fd, n.id));
	ready("nobody asks", fd, 0);
}

static void once(void)
{
	struct sigaction a = {.sa_handler = handler};
	sigaction(SIGUSR1, &a, 0);
	ask("killable");
	tell("handled %d", handled);
}

/* sleeps_deeply waits for a process to be in state D, for 20 seconds at most. */
static void sleeps_deeply(pid_t p)
{
	char name[64], text[256] = "";
	snprintf(name, sizeof name, "/proc/%d/stat", p);
	for (int i = 0; i < 2000; i++) {
		int fd = open(name, O_RDONLY);
		int got = read(fd, text, sizeof text - 1);
		close(fd);
		text[got > 0 ? got : 0] = 0;
		char *end = strrchr(text, ')');
		if (end && end[2] == 'D') {
			say("state D");
			return;
		}
		msleep(10);
	}
	say("%s", text);
}

static void killable(void)
{
	int fd = listen_with(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	pipe(pipefd);
	pid_t p;
	child(&p, once);
	receive(fd);
	kill(p, SIGUSR1);
	sleeps_deeply(p);
	err("still there", valid(fd, n.id));
	err("answer", answer(fd, n.id, 9, 0, 0));
	int ws = finish(p);
	status("child", ws);
	child(&p, once);
	receive(fd);
	kill(p, SIGKILL);
	ws = finish(p);
	status("killed", ws);
	err("its call", valid(fd, n.id));
	child(&p, once);
	receive(fd);
	kill(p, SIGTERM);
	ws = finish(p);
	status("ended", ws);
}

/* Once nobody has the filter the listener hears of that. */
static void hangup(void)
{
	int s[2], fd = -1;
	char c, control[CMSG_SPACE(sizeof fd)];
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	if (fork() == 0) {
		fd = listener();
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		*h = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(h), &fd, sizeof fd);
		sendmsg(s[1], &m, 0);
		close(fd);
		ask("from afar");
		say("%s", said);
		_exit(0);
	}
	recvmsg(s[0], &m, 0);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	receive(fd);
	answer(fd, n.id, 11, 0, 0);
	wait(0);
	ready("its end", fd, 20000);
	err("nobody left", receive(fd));
}

const struct row unotify_rows[] = {
	{"unotify.exchange", exchange},
	{"unotify.early", early},
	{"unotify.deaf", deaf},
	{"unotify.descriptors", descriptors},
	{"unotify.signals", signals},
	{"unotify.killable", killable},
	{"unotify.hangup", hangup},
	{0},
};
