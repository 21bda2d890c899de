/* What other people's test suites found, each reduced to a few lines. */
#include "cprogs.h"

#include <arpa/inet.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

/* linux/futex.h has it since 5.16. */
#define SYS_futex_waitv_ 449
struct waiter {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};
#define FUTEX_32_ 2
#define FUTEX_PRIVATE_ 128

static uint32_t words[3];

static struct timespec in(long ms)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void *waits(void *private)
{
	struct waiter w[3] = {0};
	for (int i = 0; i < 3; i++)
		w[i] = (struct waiter){0, (uintptr_t)&words[i], FUTEX_32_ | (private ? FUTEX_PRIVATE_ : 0), 0};
	struct timespec t = in(10000);
	return (void *)syscall(SYS_futex_waitv_, w, 3, 0, &t, CLOCK_MONOTONIC);
}

static void waitv(void)
{
	for (long private = 0; private < 2; private++) {
		pthread_t t;
		void *which;
		pthread_create(&t, 0, waits, (void *)private);
		msleep(50);
		while (!syscall(SYS_futex, &words[1], private ? 129 : 1, 1, 0, 0, 0))
			msleep(1);
		pthread_join(t, &which);
		say("woken by %ld", (long)which);
	}
	struct waiter w = {0, (uintptr_t)words, FUTEX_32_, 0};
	struct timespec t = in(10);
	err("timeout", syscall(SYS_futex_waitv_, &w, 1, 0, &t, CLOCK_MONOTONIC));
	w.val = 1;
	err("another value", syscall(SYS_futex_waitv_, &w, 1, 0, &t, CLOCK_MONOTONIC));
	err("none", syscall(SYS_futex_waitv_, &w, 0, 0, 0, 0));
	w.flags = 0;
	err("no size", syscall(SYS_futex_waitv_, &w, 1, 0, 0, 0));
}

static void barriers(void)
{
	const int commands[] = {MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
		MEMBARRIER_CMD_GLOBAL, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_GLOBAL_EXPEDITED,
		MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED,
		MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, -1, 3, 1 << 20};
	say("commands %#lx", syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0));
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		char what[40];
		sprintf(what, "membarrier %#x", commands[i]);
		err(what, syscall(SYS_membarrier, commands[i], 0, 0));
	}
	err("of a core", syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 1 /* _CMD_FLAG_CPU */, 0));
	err("query of a core", syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 1, 0));
	err("another flag", syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 2, 0));
}

/* lengths that are 0 once they are rounded up to pages, and others that go round. */
static void lengths(void)
{
	unsigned char vec[8];
	char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const size_t many[] = {-1, -4095, -4096, -8192, 0};
	for (int i = 0; i < 5; i++) {
		say("length %#zx", many[i]);
		err("mincore", syscall(SYS_mincore, p, many[i], vec));
		err("mprotect", syscall(SYS_mprotect, p, many[i], PROT_READ | PROT_WRITE));
		err("msync", syscall(SYS_msync, p, many[i], MS_SYNC));
		err("munmap", syscall(SYS_munmap, p + 8192, many[i]));
	}
	err("to nowhere", syscall(SYS_mincore, p, 4096, 0));
	say("nothing of nothing: %ld", syscall(SYS_mincore, 0, 0, vec));
}

static void pidfd(void)
{
	siginfo_t info;
	int self = syscall(SYS_pidfd_open, getpid(), O_NONBLOCK);
	err("no child", waitid(P_PIDFD, self, &info, WEXITED));
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	int fd = syscall(SYS_pidfd_open, pid, O_NONBLOCK);
	err("lives", waitid(P_PIDFD, fd, &info, WEXITED));
	info.si_pid = 7;
	say("lives, WNOHANG %d %d", waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG), info.si_pid);
	kill(pid, SIGKILL);
	while (waitid(P_PIDFD, fd, &info, WEXITED) == -1 && errno == EAGAIN)
		msleep(1);
	say("ended %d by %d", info.si_pid == pid, info.si_status);
}

static void peeksiginfo(void)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, 0);
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	for (int i = 0; i < 5; i++)
		sigqueue(pid, SIGRTMIN, (union sigval){.sival_int = 40 + i});
	syscall(SYS_tgkill, pid, pid, SIGUSR1);
	err("seize", ptrace(PTRACE_SEIZE, pid, 0, 0));
	err("interrupt", ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	waitpid(pid, 0, 0);
	siginfo_t got[8];
	struct {
		uint64_t off;
		uint32_t flags;
		int32_t nr;
	} a = {1, 1, 3};
	say("shared %ld: %d %d", ptrace(0x4209, pid, &a, got), got[0].si_int, got[2].si_int);
	a.off = 4, a.nr = 8;
	say("shared %ld: %d", ptrace(0x4209, pid, &a, got), got[0].si_int);
	a.off = 5;
	say("past them %ld", ptrace(0x4209, pid, &a, got));
	a.off = 0, a.flags = 0;
	say("private %ld: %d %d", ptrace(0x4209, pid, &a, got), got[0].si_signo, got[0].si_code);
	err("to nowhere", ptrace(0x4209, pid, &a, 1));
	a.flags = 2;
	err("flags", ptrace(0x4209, pid, &a, got));
	a.flags = 0, a.nr = -1;
	err("less than none", ptrace(0x4209, pid, &a, got));
	kill(pid, SIGKILL);
	waitpid(pid, 0, 0);
}

static void core(void)
{
	int same = 0;
	for (int i = 0; i < 200; i++) {
		unsigned a, b, c;
		getcpu(&a, 0); /* by the vDSO */
		syscall(SYS_getcpu, &b, 0, 0);
		getcpu(&c, 0);
		same += a == b || b == c;
	}
	say("agree: %d", same > 190);
}

static void target(void)
{
	int pipes[2], ep = epoll_create1(0);
	if (pipe(pipes) != 0)
		return;
	int other = dup(pipes[1]);
	struct epoll_event ev = {EPOLLIN, {0}};
	epoll_ctl(ep, EPOLL_CTL_ADD, pipes[0], &ev);
	struct {
		uint32_t efd, tfd, toff;
	} slot = {ep, pipes[0], 0};
	pid_t me = getpid();
	say("the one %ld", syscall(SYS_kcmp, me, me, KCMP_EPOLL_TFD, pipes[0], &slot));
	say("another %d", syscall(SYS_kcmp, me, me, KCMP_EPOLL_TFD, other, &slot) > 0);
	slot.toff = 1;
	err("the second", syscall(SYS_kcmp, me, me, KCMP_EPOLL_TFD, pipes[0], &slot));
	slot = (typeof(slot)){pipes[0], pipes[0], 0};
	err("no epoll", syscall(SYS_kcmp, me, me, KCMP_EPOLL_TFD, pipes[0], &slot));
	slot.efd = 99;
	err("no file", syscall(SYS_kcmp, me, me, KCMP_EPOLL_TFD, pipes[0], &slot));
	err("nowhere", syscall(SYS_kcmp, me, me, KCMP_EPOLL_TFD, pipes[0], 1));
}

static void locked(void)
{
	int master, slave;
	struct termios t, locks;
	memset(&locks, 0, sizeof locks);
	if (openpty(&master, &slave, 0, 0, 0) != 0)
		return;
	err("ask", ioctl(slave, TIOCGLCKTRMIOS, &locks));
	say("none %x", locks.c_iflag | locks.c_oflag | locks.c_cflag | locks.c_lflag);
	locks.c_lflag = ECHO;
	locks.c_cc[VINTR] = 1;
	if (ioctl(slave, TIOCSLCKTRMIOS, &locks) != 0 && errno == EPERM)
		return; /* it takes CAP_SYS_ADMIN */
	tcgetattr(slave, &t);
	t.c_lflag &= ~(ECHO | ICANON);
	t.c_cc[VINTR] = 1, t.c_cc[VQUIT] = 2;
	tcsetattr(slave, TCSANOW, &t);
	tcgetattr(slave, &t);
	say("echo %d, canonical %d, keys %d %d", !!(t.c_lflag & ECHO), !!(t.c_lflag & ICANON), t.c_cc[VINTR], t.c_cc[VQUIT]);
}

/* A file whose name is gone, held by nothing but O_PATH. */
static void nameless(void)
{
	char path[40], got[8] = "";
	close(open("f", O_CREAT | O_WRONLY, 0755));
	int fd = open("f", O_WRONLY);
	if (write(fd, "hello", 5) != 5)
		return;
	int at = open("f", O_PATH);
	close(fd);
	unlink("f");
	sprintf(path, "/proc/self/fd/%d", at);
	int again = open(path, O_RDONLY);
	err("open", again);
	say("read %zd %s", read(again, got, 5), got);
	close(again);
	char *argv[] = {"f", 0};
	err("execveat", syscall(SYS_execveat, at, "", argv, argv + 1, AT_EMPTY_PATH));
	close(at);
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	if (fd != -1)
		say("flags %#x", fcntl(fd, F_GETFL));
}

/* A wait with a relative timeout that the sandbox has to stop for its own reasons. */
static void *reads(void *word)
{
	struct timespec t = {20, 0};
	return (void *)(syscall(SYS_futex, word, 128, 0, &t, 0, 0) == 0 ? 0l : (long)errno);
}

static void unseen(void)
{
	pthread_t t[6];
	long bad = 0;
	for (int i = 0; i < 6; i++)
		pthread_create(&t[i], 0, reads, words);
	msleep(50);
	/* Calls from one place after the other, each of which it may want to change. */
	for (int i = 0; i < 10; i++) {
		struct rlimit r;
		struct stat st;
		getppid(), getpgid(0), getsid(0), umask(022), getrlimit(RLIMIT_CPU, &r), fstat(0, &st), fcntl(1, F_GETFD), lseek(1, 0, SEEK_CUR), alarm(0), getpriority(0, 0);
	}
	for (int woken = 0, i = 0; woken < 6 && i < 20000; i++) {
		if (i)
			msleep(1); /* one of them is not there yet */
		woken += syscall(SYS_futex, words, 129, 100, 0, 0, 0);
	}
	for (int i = 0; i < 6; i++) {
		void *e;
		pthread_join(t[i], &e);
		bad += e != 0;
	}
	say("ended early or late: %ld", bad);
}

/* A reset that comes after the peer's FIN is told to who writes; for who reads it is
 * the end. */
static void reset(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	char c;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	signal(SIGPIPE, SIG_IGN);
	bind(listener, (void *)&a, n);
	listen(listener, 1);
	getsockname(listener, (void *)&a, &n);
	for (int writes = 0; writes < 2; writes++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0), value;
		connect(fd, (void *)&a, n);
		close(accept(listener, 0, 0));
		struct pollfd p = {fd, POLLIN, 0};
		poll(&p, 1, -1);
		say("first write %zd", write(fd, "x", 1));
		p.events = 0;
		poll(&p, 1, 5000);
		say("poll %#x", p.revents);
		say("read %zd", read(fd, &c, 1));
		if (writes) {
			err("write", write(fd, "x", 1));
			err("again", write(fd, "x", 1));
		}
		socklen_t size = sizeof value;
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size);
		say("error %d, read %zd", value, read(fd, &c, 1));
		close(fd);
	}
}

/* A timer that sends nothing may have any number for its signal. */
static void silent(void)
{
	const int numbers[] = {0, 65, 0x11111111, -1};
	for (int i = 0; i < 4; i++) {
		struct sigevent ev = {.sigev_notify = SIGEV_NONE, .sigev_signo = numbers[i]};
		struct itimerspec in = {{0, 0}, {0, 1000000}}, left;
		timer_t t;
		err("create", timer_create(CLOCK_MONOTONIC, &ev, &t));
		err("start", timer_settime(t, 0, &in, 0));
		msleep(5);
		err("look", timer_gettime(t, &left));
		say("left %ld, missed %d", left.it_value.tv_nsec, timer_getoverrun(t));
		err("again", timer_settime(t, 0, &in, 0));
		err("delete", timer_delete(t));
	}
}

/* Of a call's number the lower half counts. */
static void numbers(void)
{
	long pid = syscall(SYS_getpgid, 0);
	for (int i = 0; i < 8; i++)
		if (syscall(SYS_getpgid | 1l << (32 + i), 0) != pid)
			say("bit %d", 32 + i);
	err("-1", syscall(-1l));
	err("-7", syscall(-7l));
}

/* The dynamic linker makes a stack executable so, for a library that wants it. */
static void downwards(void)
{
	const int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;
	char here, *page = (char *)((uintptr_t)&here & -4096);
	char *map = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	err("of the stack", mprotect(page, 4096, rwx | PROT_GROWSDOWN));
	char line[256], perms[8] = "";
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f))
		if (strstr(line, "[stack]"))
			sscanf(line, "%*s %7s", perms);
	if (f)
		fclose(f);
	say("the stack: %s", perms);
	err("up too", mprotect(page, 4096, rwx | PROT_GROWSDOWN | PROT_GROWSUP));
	err("up", mprotect(page, 4096, rwx | PROT_GROWSUP));
	err("no stack", mprotect(map, 4096, rwx | PROT_GROWSDOWN));
	err("not aligned", mprotect(page + 1, 4096, rwx | PROT_GROWSDOWN));
	err("nothing", mprotect(map, 0, rwx | PROT_GROWSDOWN));
	err("too much", mprotect(page, -4096ul, rwx | PROT_GROWSDOWN));
	munmap(map, 8192);
	err("nobody's", mprotect(map, 4096, rwx | PROT_GROWSDOWN));
	err("back", mprotect(page, 4096, (rwx & ~PROT_EXEC) | PROT_GROWSDOWN));
}

static void *stays(void *fd)
{
	char c;
	return (void *)read((int)(long)fd, &c, 1);
}

/* A browser's zygote forks its sandboxes only if its task directory says one thread. */
static void links(void)
{
	struct stat st;
	int p[2];
	pthread_t t[3];
	if (pipe(p))
		return;
	for (int i = 0; i <= 3; i++) {
		err("stat", stat("/proc/self/task/", &st));
		say("%d threads more: %ju links", i, (uintmax_t)st.st_nlink);
		if (i < 3)
			pthread_create(&t[i], 0, stays, (void *)(long)p[0]);
	}
	close(p[1]);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], 0);
	err("stat", stat("/proc/self/fd", &st));
	say("fd: %ju links", (uintmax_t)st.st_nlink);
}

/* Huge pages may not be there, but a flag that nobody knows is one on all machines. */
static void memfd_flags(void)
{
	err("all", syscall(SYS_memfd_create, "", ~0u));
	err("a size without huge pages", syscall(SYS_memfd_create, "", 21u << 26));
	err("an unknown one beside MFD_HUGETLB", syscall(SYS_memfd_create, "", 4u | 0x100));
}

static void *outlives(void *pid)
{
	while (1) { /* until the first thread has ended */
		char path[64], line[256], state = 0;
		sprintf(path, "/proc/%d/task/%d/stat", (int)(long)pid, (int)(long)pid);
		FILE *f = fopen(path, "r");
		if (f) {
			if (fgets(line, sizeof line, f))
				sscanf(line, "%*d (%*[^)]) %c", &state);
			fclose(f);
		}
		if (state == 'Z')
			break;
		msleep(1);
	}
	size_t n = 1 << 20;
	char *b = malloc(n), path[3000];
	memset(b, 1, n);
	int fd = open("/dev/zero", O_RDONLY);
	say("read %zd of %zu: %d", read(fd, b, n), n, b[n - 1]);
	fd = memfd_create("m", 0);
	say("write %zd", write(fd, b, n));
	memset(path, '/', sizeof path);
	strcpy(path + 2990, "proc");
	struct stat st;
	err("a long path", stat(path, &st));
	execl("/proc/self/exe", "cprogs", "found.numbers", (char *)0);
	err("exec", -1);
	exit(1);
}

/* A process whose first thread has ended has its memory all the same. */
static void headless(void)
{
	pid_t pid = fork();
	if (!pid) {
		pthread_t t;
		pthread_create(&t, 0, outlives, (void *)(long)getpid());
		pthread_exit(0);
	}
	int ws;
	waitpid(pid, &ws, 0);
	status("ended", ws);
}

/* What is read into no memory is not lost: a file's position stays, a pipe's bytes are there. */
static void nowhere(void)
{
	char b[16] = "", name[256];
	int p[2], fd;
	char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *volatile none = (char *)16;
	munmap(m + 4096, 4096);
	snprintf(name, sizeof name, "%s/nowhere.%d", getenv("SCRATCH"), getpid());
	fd = open(name, O_RDWR | O_CREAT, 0600);
	if (write(fd, "0123456789", 10) != 10)
		err("write", -1);
	lseek(fd, 1, SEEK_SET);
	err("a file", read(fd, none, 3));
	say("at %ld", (long)lseek(fd, 0, SEEK_CUR));
	say("in part %zd", read(fd, m + 4094, 5));
	say("at %ld, %.2s", (long)lseek(fd, 0, SEEK_CUR), m + 4094);
	say("in part, at a place %zd %.2s", pread(fd, m + 4094, 5, 5), m + 4094);
	err("pread", pread(fd, none, 5, 5));
	unlink(name);
	if (pipe(p) || write(p[1], "abcdef", 6) != 6)
		err("pipe", -1);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	err("a pipe", read(p[0], none, 3));
	err("across", read(p[0], m + 4094, 4));
	say("then %zd %s", read(p[0], b, 10), b);
}

const struct row found_rows[] = {
	{"found.headless", headless},
	{"found.growsdown", downwards},
	{"found.links", links},
	{"found.memfd-flags", memfd_flags},
	{"found.futex-waitv", waitv},
	{"found.membarrier", barriers},
	{"found.lengths", lengths},
	{"found.pidfd-nonblock", pidfd},
	{"found.peeksiginfo", peeksiginfo},
	{"found.core", core},
	{"found.kcmp-epoll", target},
	{"found.termios-lock", locked},
	{"found.nameless", nameless},
	{"found.futex-unseen", unseen},
	{"found.reset", reset},
	{"found.numbers", numbers},
	{"found.timer-none", silent},
	{"found.nowhere", nowhere}, {0, 0},
};
