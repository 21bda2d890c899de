/*
 * Control groups, version 2. Each program mounts the hierarchy where only it sees it, and
 * works in a group of its own that is gone at the end. A controller is whichever of
 * version 2 there is that threads cannot share: X stands for its name.
 */
#include "cprogs.h"

#include <linux/bpf.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static char top[64], home[128], controller[32];

/* text reads a file of the group; a line's end becomes a comma. */
static const char *text(const char *group, const char *file)
{
	static char buf[4096], path[512];
	snprintf(path, sizeof path, "%s/%s", group, file);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return strerrorname_np(errno);
	ssize_t n = read(fd, buf, sizeof buf - 1);
	if (n < 0)
		n = snprintf(buf, sizeof buf, "%s", strerrorname_np(errno));
	close(fd);
	buf[n] = 0;
	for (char *p = buf; *p; p++)
		if (*p == '\n')
			*p = ',';
	return buf;
}

/* put writes to a file of the group. */
static int put(const char *group, const char *file, const char *value)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", group, file);
	int fd = open(path, O_WRONLY);
	if (fd < 0)
		return -1;
	int r = write(fd, value, strlen(value)) < 0 ? -1 : 0;
	int e = errno;
	close(fd);
	errno = e;
	return r;
}

static int put_pid(const char *group, int pid)
{
	char n[16];
	snprintf(n, sizeof n, "%d", pid);
	return put(group, "cgroup.procs", n);
}

/* has says whether the group's file has a line with the number. */
static int has(const char *group, const char *file, int n)
{
	char want[16], all[4096];
	snprintf(want, sizeof want, ",%d,", n);
	snprintf(all, sizeof all, ",%s", text(group, file));
	return strstr(all, want) != 0;
}

static const char *in(const char *name)
{
	static char paths[8][256];
	static int at;
	at = (at + 1) % 8;
	snprintf(paths[at], sizeof paths[0], "%s/%s", home, name);
	return paths[at];
}

/* await_text waits until a file says so. */
static void await_text(const char *what, const char *group, const char *file, const char *want)
{
	for (int i = 0; i < 2000 && strcmp(text(group, file), want); i++)
		msleep(5);
	say("%s: %s", what, text(group, file));
}

/* begin mounts the hierarchy and makes the group; 0 if there is none. */
static int begin(void)
{
	snprintf(top, sizeof top, "/tmp/cgroup-XXXXXX");
	if (!mkdtemp(top) || unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || mount("none", top, "cgroup2", 0, 0)) {
		err("begin", -1);
		return 0;
	}
	snprintf(home, sizeof home, "%s/test-%d", top, getpid());
	mkdir(home, 0755);
	char all[256];
	snprintf(all, sizeof all, "%s", text(top, "cgroup.controllers"));
	snprintf(controller, sizeof controller, "%s", strstr(all, "memory") ? "memory" : "hugetlb");
	return 1;
}

static void end(void)
{
	put_pid(top, getpid());
	if (rmdir(home))
		err("the group at the end", -1);
	umount2(top, MNT_DETACH);
	rmdir(top);
}

/* idle is a process in a group that does nothing until it is killed. */
static pid_t idle(const char *group)
{
	pid_t p = fork();
	if (p == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (group)
			put(group, "cgroup.procs", "0");
		for (;;)
			pause();
	}
	if (group)
		while (!has(group, "cgroup.procs", p))
			msleep(2);
	return p;
}

static void finish(pid_t p)
{
	int ws;
	kill(p, SIGKILL);
	waitpid(p, &ws, 0);
}

static void mode(const char *name)
{
	struct stat st;
	if (stat(in(name), &st))
		err(name, -1);
	else
		say("%s: %o, %ld bytes, block %ld, %lu links", name, st.st_mode, (long)st.st_size, (long)st.st_blksize, (unsigned long)st.st_nlink);
}

static void files(void)
{
	if (!begin())
		return;
	struct statfs fs;
	statfs(home, &fs);
	say("type %lx, names of %ld", (long)fs.f_type, (long)fs.f_namelen);
	static const char *const names[] = {"", "cgroup.type", "cgroup.procs", "cgroup.threads", "cgroup.controllers", "cgroup.subtree_control", "cgroup.events",
	                                    "cgroup.max.descendants", "cgroup.max.depth", "cgroup.stat", "cgroup.freeze", "cgroup.kill", "cpu.stat"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		mode(names[i]);
	for (size_t i = 1; i < sizeof names / sizeof *names; i++)
		if (!strstr(names[i], "stat") && !strstr(names[i], "controllers"))
			say("%s: %s", names[i], text(home, names[i]));
	say("cpu.stat begins %.10s", text(home, "cpu.stat"));
	say("cgroup.stat begins %.17s", text(home, "cgroup.stat"));
	for (size_t i = 1; i < sizeof names / sizeof *names; i++)
		if (!strstr(names[i], "kill") && !strstr(names[i], "threads")) {
			char what[64];
			snprintf(what, sizeof what, "%s = x", names[i]);
			err(what, put(home, names[i], "x"));
		}
	static const char *const values[] = {"0", "1", "2", "-1", " 1 ", "0x1", "", "max", "99999999999"};
	static const char *const numbers[] = {"cgroup.freeze", "cgroup.max.depth", "cgroup.max.descendants", "cgroup.procs", "cgroup.kill"};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
			if (i == 3 && strchr(values[j], '0') != 0 && !values[j][1])
				continue;
			if (i == 3 && (strstr(values[j], "1 ") || strstr(values[j], "x1") || !strcmp(values[j], "1") || !strcmp(values[j], "2")))
				continue;
			char what[64];
			snprintf(what, sizeof what, "%s = '%s'", numbers[i], values[j]);
			err(what, put(home, numbers[i], values[j]));
			if (i < 3)
				say("  %s", text(home, numbers[i]));
		}
	put(home, "cgroup.freeze", "0");
	end();
}

static void look(const char *what, struct pollfd *p)
{
	int n = poll(p, 1, 0);
	say("%s: %d %x", what, n, p->revents);
}

static void names(void)
{
	if (!begin())
		return;
	char path[256];
	err("mkdir", mkdir(in("a"), 0700));
	err("again", mkdir(in("a"), 0700));
	err("a file's name", mkdir(in("cgroup.procs"), 0700));
	err("a line's end", mkdir(in("a\nb"), 0700));
	mode("");
	mode("a");
	mode("a/cgroup.procs");
	err("create", open(in("new"), O_CREAT | O_WRONLY, 0600));
	err("truncate", open(in("cgroup.freeze"), O_TRUNC | O_WRONLY, 0600));
	err("symlink", symlink("a", in("link")));
	err("mknod", mknod(in("fifo"), S_IFIFO | 0600, 0));
	err("link", link(in("cgroup.procs"), in("procs")));
	err("unlink", unlink(in("cgroup.procs")));
	err("rename", rename(in("a"), in("b")));
	err("rename over", rename(in("cgroup.procs"), in("cgroup.type")));
	err("rmdir of a file", rmdir(in("cgroup.procs")));
	err("chmod", chmod(in("cgroup.procs"), 0600));
	mode("cgroup.procs");
	err("chown", chown(in("a"), 12, 34));
	err("setxattr", setxattr(in("a"), "user.x", "abc", 3, 0));
	say("getxattr %zd", getxattr(in("a"), "user.x", path, sizeof path));
	err("trusted", setxattr(in("a"), "trusted.x", "abc", 3, XATTR_REPLACE));
	err("removexattr", removexattr(in("a"), "user.x"));
	mkdir(in("a/b"), 0755);
	err("rmdir of one with another", rmdir(in("a")));
	err("depth", put(in("a"), "cgroup.max.depth", "1"));
	err("as deep", mkdir(in("a/c"), 0755));
	err("deeper", mkdir(in("a/b/c"), 0755));
	err("no depth", put(in("a"), "cgroup.max.depth", "0"));
	err("deeper than none", mkdir(in("a/d"), 0755));
	put(in("a"), "cgroup.max.depth", "max");
	err("number", put(in("a"), "cgroup.max.descendants", "3"));
	err("a third", mkdir(in("a/b/c"), 0755));
	err("a fourth", mkdir(in("a/d"), 0755));
	int dir = open(in("a/c"), O_DIRECTORY), file = open(in("a/c/cgroup.freeze"), O_RDWR), events = open(in("a/c/cgroup.events"), O_RDONLY);
	struct pollfd p = {events, POLLPRI, 0};
	look("poll", &p);
	rmdir(in("a/b/c"));
	rmdir(in("a/b"));
	rmdir(in("a/c"));
	err("read of one that is gone", read(file, path, 10));
	err("write", write(file, "0", 1));
	err("events", read(events, path, 10));
	look("poll", &p);
	err("open below", openat(dir, "cgroup.procs", O_RDONLY));
	err("mkdir below", mkdirat(dir, "x", 0700));
	rmdir(in("a"));
	end();
}

/* A process is in one group; a child begins there; who has ended is in none. */
static void procs(void)
{
	if (!begin())
		return;
	mkdir(in("a"), 0755);
	mkdir(in("b"), 0755);
	const char *a = in("a"), *b = in("b");
	char keep[2][256];
	a = strcpy(keep[0], a);
	b = strcpy(keep[1], b);
	say("%s", text(a, "cgroup.events"));
	pid_t p = idle(a);
	say("%s %s", text(a, "cgroup.events"), text(home, "cgroup.procs"));
	say("%s", text(home, "cgroup.events"));
	err("rmdir", rmdir(a));
	err("to b", put_pid(b, p));
	say("a %d b %d", has(a, "cgroup.procs", p), has(b, "cgroup.procs", p));
	err("to b again", put_pid(b, p));
	err("garbage", put(b, "cgroup.procs", "12x"));
	err("nobody", put(b, "cgroup.procs", "4194303"));
	err("two", put(b, "cgroup.procs", "1 2"));
	char name[64], where[512];
	snprintf(name, sizeof name, "%d", p);
	snprintf(where, sizeof where, "/proc/%d", p);
	const char *at = strstr(text(where, "cgroup"), "0::");
	say("%s", at ? strrchr(at, '/') : "nowhere");
	snprintf(where, sizeof where, "%s\n", name);
	err("with a line's end", put(a, "cgroup.procs", where));
	err("back", put_pid(b, p));
	kill(p, SIGKILL);
	siginfo_t si;
	waitid(P_PID, p, &si, WEXITED | WNOWAIT);
	await_text("its end", b, "cgroup.events", "populated 0,frozen 0,");
	say("listed %d", has(b, "cgroup.procs", p));
	err("a zombie", put_pid(a, p));
	err("rmdir with a zombie", rmdir(b));
	snprintf(where, sizeof where, "/proc/%d", p);
	at = strstr(text(where, "cgroup"), "0::");
	say("%s", at ? strrchr(at, '/') : "nowhere");
	waitpid(p, 0, 0);
	p = fork();
	if (p == 0) {
		put(a, "cgroup.procs", "0");
		pid_t c = fork();
		if (c == 0)
			_exit(has(a, "cgroup.procs", getpid()));
		int ws;
		waitpid(c, &ws, 0);
		status("a child is there", ws);
		_exit(0);
	}
	waitpid(p, 0, 0);
	await_text("all gone", a, "cgroup.events", "populated 0,frozen 0,");
	err("rmdir", rmdir(a));
	end();
}

static int watch(int fd)
{
	struct pollfd p = {fd, POLLPRI, 0};
	int n = poll(&p, 1, 10000);
	char buf[64];
	int r = pread(fd, buf, 63, 0);
	buf[r < 0 ? 0 : r] = 0;
	for (char *c = buf; *c; c++)
		if (*c == '\n')
			*c = ',';
	say("poll %d %x: %s", n, p.revents, buf);
	return n;
}

static void events(void)
{
	if (!begin())
		return;
	char a[256];
	mkdir(strcpy(a, in("a")), 0755);
	int fd = open(in("a/cgroup.events"), O_RDONLY), in_ = inotify_init1(IN_NONBLOCK), ep = epoll_create1(0);
	inotify_add_watch(in_, in("a/cgroup.events"), IN_MODIFY);
	struct epoll_event e = {EPOLLPRI, {0}}, got = {0};
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	char buf[64];
	read(fd, buf, 64);
	struct pollfd p = {fd, POLLPRI | POLLIN, 0};
	look("at first", &p);
	pid_t c = idle(a);
	watch(fd);
	look("then", &p);
	put(a, "cgroup.freeze", "1");
	say("epoll %d", epoll_wait(ep, &got, 1, 10000));
	await_text("frozen", a, "cgroup.events", "populated 1,frozen 1,");
	pread(fd, buf, 64, 0);
	put(a, "cgroup.freeze", "0");
	watch(fd);
	finish(c);
	watch(fd);
	msleep(50);
	struct inotify_event seen[16];
	int n = read(in_, seen, sizeof seen);
	say("inotify %d %x", n >= (int)sizeof seen[0], n > 0 ? seen[0].mask : 0);
	rmdir(a);
	end();
}

static void frozen(void)
{
	if (!begin())
		return;
	volatile int *n = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char a[256], b[256];
	mkdir(strcpy(a, in("a")), 0755);
	mkdir(strcpy(b, in("a/b")), 0755);
	say("empty: %s", text(a, "cgroup.events"));
	put(a, "cgroup.freeze", "1");
	await_text("empty and frozen", a, "cgroup.events", "populated 0,frozen 1,");
	say("below: %s %s", text(b, "cgroup.events"), text(b, "cgroup.freeze"));
	put(a, "cgroup.freeze", "0");
	pid_t p = fork();
	if (p == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		put(b, "cgroup.procs", "0");
		for (;;)
			n[0]++;
	}
	while (!n[0])
		msleep(1);
	put(a, "cgroup.freeze", "1");
	await_text("a busy one", a, "cgroup.events", "populated 1,frozen 1,");
	int was = n[0];
	msleep(100);
	say("it ran on: %d", n[0] != was);
	err("thawed below", put(b, "cgroup.freeze", "0"));
	msleep(50);
	say("it ran on: %d", n[0] != was);
	kill(p, SIGUSR1);
	msleep(50);
	int ws = 0;
	say("a signal: %d, %s", waitpid(p, &ws, WNOHANG) == p, text(a, "cgroup.events"));
	status("which ends it", ws);
	err("out of it", put_pid(home, p));

	p = idle(0);
	err("into it", put_pid(a, p));
	await_text("frozen there", a, "cgroup.events", "populated 1,frozen 1,");
	kill(p, SIGKILL);
	waitpid(p, &ws, 0);
	status("killed there", ws);
	put(a, "cgroup.freeze", "0");

	p = idle(a);
	kill(p, SIGSTOP);
	waitpid(p, &ws, WUNTRACED);
	put(a, "cgroup.freeze", "1");
	await_text("a stopped one", a, "cgroup.events", "populated 1,frozen 1,");
	kill(p, SIGCONT);
	msleep(50);
	say("continued: %s", text(a, "cgroup.events"));
	put(a, "cgroup.freeze", "0");
	await_text("thawed", a, "cgroup.events", "populated 1,frozen 0,");
	finish(p);
	rmdir(b);
	rmdir(a);
	end();
}

/* What a frozen thread's call makes of it. */
static void calls(void)
{
	if (!begin())
		return;
	char a[256];
	mkdir(strcpy(a, in("a")), 0755);
	for (int kind = 0; kind < 5; kind++) {
		int fds[2], out[2];
		pipe(fds);
		pipe(out);
		pid_t p = fork();
		if (p == 0) {
			put(a, "cgroup.procs", "0");
			char c;
			long r = -1;
			write(out[1], "x", 1);
			struct timespec t = {0, 400000000};
			struct pollfd pf = {fds[0], POLLIN, 0};
			struct epoll_event e = {EPOLLIN, {0}};
			int ep = epoll_create1(0);
			switch (kind) {
			case 0: r = read(fds[0], &c, 1); break;
			case 1: r = nanosleep(&t, 0); break;
			case 2: r = poll(&pf, 1, 1000); break;
			case 3: epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &e); r = epoll_wait(ep, &e, 1, 1000); break;
			case 4:
				p = vfork();
				if (p == 0) {
					nanosleep(&t, 0);
					_exit(0);
				}
				r = 0;
			}
			char what[32];
			snprintf(what, sizeof what, "call %d", kind);
			err(what, r);
			_exit(0);
		}
		char c;
		read(out[0], &c, 1);
		msleep(60);
		put(a, "cgroup.freeze", "1");
		await_text("frozen", a, "cgroup.events", "populated 1,frozen 1,");
		write(fds[1], "y", 1);
		msleep(60);
		put(a, "cgroup.freeze", "0");
		waitpid(p, 0, 0);
		close(fds[0]);
		close(fds[1]);
		close(out[0]);
		close(out[1]);
	}
	await_text("nobody", a, "cgroup.events", "populated 0,frozen 0,");
	rmdir(a);
	end();
}

static void killed(void)
{
	if (!begin())
		return;
	char a[256], b[256];
	mkdir(strcpy(a, in("a")), 0755);
	mkdir(strcpy(b, in("a/b")), 0755);
	err("nobody", put(a, "cgroup.kill", "1"));
	pid_t p = idle(a), q = idle(b), r = idle(b), s = idle(home);
	put(b, "cgroup.freeze", "1");
	await_text("frozen", b, "cgroup.events", "populated 1,frozen 1,");
	err("all", put(a, "cgroup.kill", "1"));
	int ws;
	waitpid(p, &ws, 0);
	status("above", ws);
	waitpid(q, &ws, 0);
	status("below", ws);
	waitpid(r, &ws, 0);
	status("below", ws);
	say("another's: %d", waitpid(s, &ws, WNOHANG));
	finish(s);
	put(b, "cgroup.freeze", "0");
	p = fork();
	if (p == 0) { /* who makes others all the time */
		put(a, "cgroup.procs", "0");
		for (;;) {
			pid_t c = fork();
			if (c == 0 && fork() == 0)
				pause();
			if (c == 0)
				_exit(0);
			waitpid(c, 0, 0);
			msleep(1);
		}
	}
	msleep(100);
	err("who makes others", put(a, "cgroup.kill", "1"));
	waitpid(p, &ws, 0);
	status("it", ws);
	await_text("nobody is left", a, "cgroup.events", "populated 0,frozen 0,");
	rmdir(b);
	rmdir(a);
	end();
}

/* enable_top gives the top's children the controller, and moves who is at the top out of
 * the way where that is a group with limits itself: in a sandbox. */
static int enable_top(void)
{
	char plus[40];
	snprintf(plus, sizeof plus, "+%s", controller);
	if (put(top, "cgroup.subtree_control", plus) == 0)
		return 1;
	if (errno != EBUSY)
		return 0;
	char rest[128], *all = strdup(text(top, "cgroup.procs"));
	snprintf(rest, sizeof rest, "%s/rest", top);
	mkdir(rest, 0755);
	for (char *n = strtok(all, ","); n; n = strtok(0, ","))
		put(rest, "cgroup.procs", n);
	return put(top, "cgroup.subtree_control", plus) == 0;
}

static void control(void)
{
	if (!begin())
		return;
	int lock = open(top, O_RDONLY | O_DIRECTORY);
	flock(lock, LOCK_EX); /* of those that change the top at once */
	char plus[40], minus[40], first[64], a[256], b[256];
	snprintf(plus, sizeof plus, "+%s", controller);
	snprintf(minus, sizeof minus, "-%s", controller);
	mkdir(strcpy(a, in("a")), 0755);
	mkdir(strcpy(b, in("a/b")), 0755);
	if (!enable_top()) {
		err("enable", -1);
		return;
	}
	snprintf(first, sizeof first, strcmp(controller, "memory") ? "hugetlb.2MB.max" : "memory.max");
	char path[320];
	snprintf(path, sizeof path, "%s/%s", a, first);
	say("its file: %d", access(path, F_OK) == 0);
	err("no such", put(home, "cgroup.subtree_control", "+nothing"));
	err("no sign", put(home, "cgroup.subtree_control", controller));
	err("nothing", put(home, "cgroup.subtree_control", ""));
	err("not ours", put(a, "cgroup.subtree_control", plus));
	err("off", put(home, "cgroup.subtree_control", minus));
	err("on", put(home, "cgroup.subtree_control", plus));
	say("%d %d", strstr(text(home, "cgroup.subtree_control"), controller) != 0, strstr(text(a, "cgroup.controllers"), controller) != 0);
	say("its file: %d", access(path, F_OK) == 0);
	int fd = open(path, O_RDWR);
	err("below", put(a, "cgroup.subtree_control", plus));
	err("off above", put(home, "cgroup.subtree_control", minus));
	pid_t p = idle(0);
	err("a process beside the groups", put_pid(home, p));
	err("a process in the lowest", put_pid(b, p));
	say("%s", text(home, "cgroup.type"));
	err("off below", put(a, "cgroup.subtree_control", minus));
	err("a process in the middle", put_pid(a, p));
	err("on below, with a process", put(a, "cgroup.subtree_control", plus));
	finish(p);
	await_text("gone", a, "cgroup.events", "populated 0,frozen 0,");
	err("off again", put(home, "cgroup.subtree_control", minus));
	say("its file: %d", access(path, F_OK) == 0);
	char buf[64];
	err("one open from before", read(fd, buf, sizeof buf));
	rmdir(b);
	rmdir(a);
	put(top, "cgroup.subtree_control", minus);
	close(lock);
	end();
}

/* Who may move whom: what matters is cgroup.procs of the group above both. */
static void delegation(void)
{
	if (!begin())
		return;
	chmod(top, 0755);
	char a[256], b[256], c[256], o[256];
	mkdir(strcpy(a, in("a")), 0755);
	mkdir(strcpy(o, in("o")), 0755);
	chown(a, 1234, 1234);
	chown(in("a/cgroup.procs"), 1234, 1234);
	pid_t inside = idle(a), outside = idle(home);
	pid_t p = fork();
	if (p == 0) {
		put(a, "cgroup.procs", "0");
		if (setresgid(1234, 1234, 1234) || setresuid(1234, 1234, 1234))
			_exit(1);
		err("mkdir elsewhere", mkdir(in("x"), 0755));
		err("mkdir", mkdir(strcpy(b, in("a/b")), 0755));
		err("mkdir", mkdir(strcpy(c, in("a/c")), 0755));
		struct stat st;
		stat(in("a/b/cgroup.procs"), &st);
		say("whose: %d %d %o", st.st_uid, st.st_gid, st.st_mode);
		err("self", put(b, "cgroup.procs", "0"));
		err("one inside", put_pid(c, inside));
		err("one outside", put_pid(b, outside));
		err("self elsewhere", put(o, "cgroup.procs", "0"));
		err("self up", put(home, "cgroup.procs", "0"));
		err("a's freezer", put(a, "cgroup.freeze", "1"));
		err("b's freezer", put(b, "cgroup.freeze", "0"));
		err("self back", put(a, "cgroup.procs", "0"));
		err("rmdir", rmdir(b));
		err("one inside back", put_pid(a, inside));
		err("rmdir", rmdir(c));
		err("rmdir of its own", rmdir(a));
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	status("it", ws);
	finish(inside);
	finish(outside);
	await_text("gone", home, "cgroup.events", "populated 0,frozen 0,");
	rmdir(a);
	rmdir(o);

	/* Whoever writes, it goes by who has opened it. */
	mkdir(a, 0777);
	chmod(in("a/cgroup.procs"), 0666);
	p = fork();
	if (p == 0) {
		put(home, "cgroup.procs", "0");
		int both[2];
		pipe(both);
		uid_t was = geteuid();
		setresuid(-1, 1234, 0);
		int fd = open(in("a/cgroup.procs"), O_WRONLY);
		setresuid(-1, was, 0);
		err("by one that a user has opened", write(fd, "0", 1));
		_exit(0);
	}
	waitpid(p, &ws, 0);
	await_text("gone", home, "cgroup.events", "populated 0,frozen 0,");
	rmdir(a);
	end();
}

static void into(void)
{
	if (!begin())
		return;
	char a[256];
	mkdir(strcpy(a, in("a")), 0755);
	int fd = open(a, O_PATH), tmp = open("/tmp", O_PATH), file = open(in("a/cgroup.procs"), O_RDWR);
	const int fds[] = {fd, tmp, file, -1, 1 << 20};
	for (size_t i = 0; i < 5; i++) {
		struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = fds[i] < 0 ? (uint64_t)-1 : (uint64_t)fds[i]};
		pid_t p = syscall(SYS_clone3, &args, sizeof args);
		if (p == 0)
			_exit(has(a, "cgroup.procs", getpid()));
		int ws = 0;
		char what[32];
		snprintf(what, sizeof what, "descriptor %zu", i);
		err(what, p);
		if (p > 0) {
			waitpid(p, &ws, 0);
			status("  it is there", ws);
		}
	}
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = fd};
	err("a short struct", syscall(SYS_clone3, &args, 80));
	put(a, "cgroup.freeze", "1");
	pid_t p = syscall(SYS_clone3, &args, sizeof args);
	if (p == 0)
		_exit(3);
	await_text("frozen from the first", a, "cgroup.events", "populated 1,frozen 1,");
	put(a, "cgroup.freeze", "0");
	int ws;
	waitpid(p, &ws, 0);
	status("then", ws);
	p = fork();
	if (p == 0) {
		setresuid(1234, 1234, 1234);
		pid_t q = syscall(SYS_clone3, &args, sizeof args);
		if (q == 0)
			_exit(0);
		err("a user's", q);
		_exit(0);
	}
	waitpid(p, 0, 0);
	await_text("gone", a, "cgroup.events", "populated 0,frozen 0,");
	rmdir(a);
	p = syscall(SYS_clone3, &args, sizeof args);
	if (p == 0)
		_exit(0);
	err("one that is gone", p);
	end();
}

static const char *own(pid_t p)
{
	char where[64];
	snprintf(where, sizeof where, "/proc/%d", p);
	const char *at = strstr(text(where, "cgroup"), "0::");
	return at ? at : "nowhere";
}

/* A namespace begins where its first process was. */
static void spaces(void)
{
	if (!begin())
		return;
	char a[256], b[256], m[128];
	mkdir(strcpy(a, in("a")), 0755);
	mkdir(strcpy(b, in("a/b")), 0755);
	snprintf(m, sizeof m, "/tmp/cgroup-m-%d", getpid());
	mkdir(m, 0755);
	pid_t out = idle(home);
	pid_t p = fork();
	if (p == 0) {
		char was[64] = "", is[64] = "";
		put(a, "cgroup.procs", "0");
		readlink("/proc/self/ns/cgroup", was, 63);
		err("unshare", unshare(CLONE_NEWCGROUP));
		readlink("/proc/self/ns/cgroup", is, 63);
		say("another: %d", strcmp(was, is) != 0);
		say("%s", own(getpid()));
		say("%s", own(out));
		put(b, "cgroup.procs", "0");
		say("%s", own(getpid()));
		err("mount", mount("none", m, "cgroup2", 0, 0));
		char path[160];
		snprintf(path, sizeof path, "%s/b", m);
		say("b %d", access(path, F_OK) == 0);
		say("%s", text(m, "cgroup.type"));
		FILE *f = fopen("/proc/self/mountinfo", "r");
		char line[1024], root[256], at[256];
		while (fgets(line, sizeof line, f))
			if (strstr(line, " - cgroup2 ") && sscanf(line, "%*d %*d %*s %255s %255s", root, at) == 2 && (!strcmp(at, m) || !strcmp(at, top)))
				say("%s %s", strcmp(at, m) ? "top" : "m", root);
		fclose(f);
		char parent[64];
		snprintf(parent, sizeof parent, "/proc/%d/ns/cgroup", getppid());
		err("no such option", mount("none", m, "cgroup2", 0, "nonsense"));
		int fd = open(parent, O_RDONLY);
		err("setns", setns(fd, CLONE_NEWCGROUP));
		at[0] = 0;
		say("its end: %s", strrchr(strtok(strcpy(line, own(getpid())), ","), '/'));
		umount2(m, MNT_DETACH);
		_exit(0);
	}
	waitpid(p, 0, 0);
	finish(out);
	rmdir(m);
	await_text("gone", home, "cgroup.events", "populated 0,frozen 0,");
	rmdir(b);
	rmdir(a);
	end();
}

static void *sleeper(void *tid)
{
	*(volatile int *)tid = gettid();
	for (;;)
		pause();
	return 0;
}

static void threads(void)
{
	if (!begin())
		return;
	char a[256];
	mkdir(strcpy(a, in("a")), 0755);
	pid_t p = fork();
	if (p == 0) {
		volatile int tid = 0;
		pthread_t t;
		pthread_create(&t, 0, sleeper, (void *)&tid);
		while (!tid)
			msleep(1);
		char n[16];
		snprintf(n, sizeof n, "%d", tid);
		err("a thread's number moves all", put(a, "cgroup.procs", n));
		say("%d %d", has(a, "cgroup.procs", getpid()), has(a, "cgroup.procs", tid));
		say("%d %d", has(a, "cgroup.threads", getpid()), has(a, "cgroup.threads", tid));
		err("to where it is", put(a, "cgroup.threads", n));
		err("elsewhere", put(home, "cgroup.threads", n));
		err("a thread alone", put(a, "cgroup.type", "domain"));
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	status("it", ws);
	p = fork();
	if (p == 0) {
		volatile int tid = 0;
		pthread_t t;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_create(&t, 0, sleeper, (void *)&tid);
		put(a, "cgroup.procs", "0");
		pthread_exit(0); /* the first ends, the other stays */
	}
	while (!has(a, "cgroup.procs", p))
		msleep(2);
	msleep(50);
	say("without its first: %d", has(a, "cgroup.procs", p));
	put(a, "cgroup.freeze", "1");
	await_text("frozen", a, "cgroup.events", "populated 1,frozen 1,");
	put(a, "cgroup.freeze", "0");
	kill(p, SIGKILL);
	waitpid(p, 0, 0);
	await_text("gone", a, "cgroup.events", "populated 0,frozen 0,");

	/* A traced one that stands still is as good as frozen. */
	p = fork();
	if (p == 0) {
		put(a, "cgroup.procs", "0");
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGUSR1);
		_exit(7);
	}
	waitpid(p, &ws, 0);
	status("traced", ws);
	put(a, "cgroup.freeze", "1");
	await_text("frozen", a, "cgroup.events", "populated 1,frozen 1,");
	put(a, "cgroup.freeze", "0");
	ptrace(PTRACE_CONT, p, 0, 0);
	waitpid(p, &ws, 0);
	status("then", ws);
	await_text("gone", a, "cgroup.events", "populated 0,frozen 0,");
	rmdir(a);
	end();
}

static long bpf_(int cmd, union bpf_attr *a) { return syscall(SYS_bpf, cmd, a, sizeof *a); }

static long load(const struct bpf_insn *text, int n)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = n, .insns = (uint64_t)text, .license = (uint64_t) "MIT"};
	return bpf_(BPF_PROG_LOAD, &a);
}

static long attach(int group, int program, int flags, int instead)
{
	union bpf_attr a = {.target_fd = group, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE, .attach_flags = flags, .replace_bpf_fd = instead};
	return bpf_(BPF_PROG_ATTACH, &a);
}

static long detach(int group, int program)
{
	union bpf_attr a = {.target_fd = group, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE};
	return bpf_(BPF_PROG_DETACH, &a);
}

static void query(int group, int flags)
{
	uint32_t ids[8] = {0};
	union bpf_attr a = {.query = {.target_fd = group, .attach_type = BPF_CGROUP_DEVICE, .query_flags = flags, .prog_ids = (uint64_t)ids, .prog_cnt = 8}};
	long r = bpf_(BPF_PROG_QUERY, &a);
	err("query", r);
	if (r)
		return;
	say("  %u programs, flags %u", a.query.prog_cnt, a.query.attach_flags);
	for (unsigned i = 0; i < a.query.prog_cnt && i < 8; i++) {
		union bpf_attr b = {.prog_id = ids[i]};
		long fd = bpf_(BPF_PROG_GET_FD_BY_ID, &b);
		struct bpf_prog_info info = {0};
		union bpf_attr c = {.info = {.bpf_fd = fd, .info_len = sizeof info, .info = (uint64_t)&info}};
		long told = bpf_(BPF_OBJ_GET_INFO_BY_FD, &c);
		say("  by its number %d, told %ld, type %u, the same %d", fd >= 0, told, info.type, info.id == ids[i]);
		close(fd);
	}
}

static void try_devices(const char *what)
{
	say("%s", what);
	int fd;
	err("  null", fd = open("/dev/null", O_RDWR));
	close(fd);
	err("  null to read", fd = open("/dev/null", O_RDONLY));
	close(fd);
	err("  zero", fd = open("/dev/zero", O_RDONLY));
	close(fd);
	char at[64];
	snprintf(at, sizeof at, "/tmp/cgroup-node-%d", getpid());
	err("  make zero", mknod(at, S_IFCHR | 0600, makedev(1, 5)));
	unlink(at);
	err("  make null", mknod(at, S_IFCHR | 0600, makedev(1, 3)));
	unlink(at);
	err("  make a FIFO", mknod(at, S_IFIFO | 0600, 0));
	unlink(at);
}

#define I(code_, dst_, src_, off_, imm_) {.code = code_, .dst_reg = dst_, .src_reg = src_, .off = off_, .imm = imm_}
#define EXIT I(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define SET(v) I(BPF_ALU64 | BPF_MOV, 0, 0, 0, v)

/* What run-times write: the bits of a word, then one device after the other. */
static void devices(void)
{
	static const struct bpf_insn only_null[] = {
		I(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0), I(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0), I(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
		I(BPF_ALU | BPF_AND, 2, 0, 0, 0xffff), I(BPF_JMP | BPF_JNE, 2, 0, 4, BPF_DEVCG_DEV_CHAR), I(BPF_JMP32 | BPF_JNE, 4, 0, 3, 1),
		I(BPF_JMP | BPF_JNE, 5, 0, 2, 3), SET(1), EXIT, SET(0), EXIT};
	static const struct bpf_insn no_writing[] = {
		I(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 0, 0), I(BPF_ALU | BPF_RSH, 3, 0, 0, 16), I(BPF_JMP | BPF_JSET, 3, 0, 2, BPF_DEVCG_ACC_WRITE), SET(1), EXIT, SET(0), EXIT};
	static const struct bpf_insn all[] = {SET(1), EXIT};
	static const struct {
		const char *what;
		int n;
		struct bpf_insn text[5];
	} bad[] = {
		{"no end", 1, {SET(1)}},
		{"no answer", 1, {EXIT}},
		{"what is asked as the answer", 2, {I(BPF_ALU64 | BPF_MOV | BPF_X, 0, 1, 0, 0), EXIT}},
		{"round and round", 2, {SET(1), I(BPF_JMP | BPF_JA, 0, 0, -2, 0)}},
		{"beyond the end", 3, {SET(1), I(BPF_JMP | BPF_JEQ, 0, 0, 9, 0), EXIT}},
		{"unreachable", 3, {SET(1), EXIT, EXIT}},
		{"beyond what is asked", 2, {I(BPF_LDX | BPF_MEM | BPF_W, 0, 1, 12, 0), EXIT}},
		{"before it", 2, {I(BPF_LDX | BPF_MEM | BPF_W, 0, 1, -4, 0), EXIT}},
		{"across its words", 2, {I(BPF_LDX | BPF_MEM | BPF_W, 0, 1, 2, 0), EXIT}},
		{"more than a word", 2, {I(BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 0, 0), EXIT}},
		{"half of the first word", 3, {I(BPF_LDX | BPF_MEM | BPF_H, 2, 1, 0, 0), SET(1), EXIT}},
		{"half of the second", 2, {I(BPF_LDX | BPF_MEM | BPF_H, 0, 1, 4, 0), EXIT}},
		{"a store", 3, {SET(1), I(BPF_STX | BPF_MEM | BPF_W, 1, 0, 0, 0), EXIT}},
		{"no such register", 2, {I(BPF_ALU64 | BPF_MOV, 12, 0, 0, 1), EXIT}},
		{"unset", 2, {I(BPF_ALU64 | BPF_MOV | BPF_X, 0, 3, 0, 0), EXIT}},
		{"unset on one way", 4, {I(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0), I(BPF_JMP | BPF_JEQ, 2, 0, 1, 0), SET(1), EXIT}},
		{"divided by nothing", 3, {SET(1), I(BPF_ALU64 | BPF_DIV, 0, 0, 0, 0), EXIT}},
		{"no such operation", 2, {I(BPF_ALU64 | 0xf0, 0, 0, 0, 0), EXIT}},
	};
	if (!begin())
		return;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		err(bad[i].what, load(bad[i].text, bad[i].n));
	err("nothing", load(all, 0));
	mkdir(in("a"), 0755);
	mkdir(in("a/b"), 0755);
	int a = open(in("a"), O_RDONLY), b = open(in("a/b"), O_RDONLY), tmp = open("/tmp", O_RDONLY);
	int null = load(only_null, 11), quiet = load(no_writing, 7), any = load(all, 2);
	say("loaded %d %d %d, closed at exec %d", null >= 0, quiet >= 0, any >= 0, fcntl(null, F_GETFD));
	err("to no group", attach(tmp, null, BPF_F_ALLOW_MULTI, 0));
	err("no program", attach(a, tmp, BPF_F_ALLOW_MULTI, 0));
	err("in place of no program", attach(a, any, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, -1));
	err("in place of another", attach(a, any, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, null));
	err("no such flag", attach(a, any, 0x800000, 0));
	err("detached before", detach(a, null));
	query(a, 0);
	err("attach", attach(a, null, BPF_F_ALLOW_MULTI, 0));
	err("again", attach(a, null, BPF_F_ALLOW_MULTI, 0));
	err("below", attach(b, quiet, BPF_F_ALLOW_MULTI, 0));
	query(a, 0);
	query(b, 0);
	query(b, BPF_F_QUERY_EFFECTIVE);
	pid_t p = fork();
	if (p == 0) {
		try_devices("outside");
		put(in("a"), "cgroup.procs", "0");
		try_devices("above");
		put(in("a/b"), "cgroup.procs", "0");
		try_devices("below");
		err("replaced", attach(a, any, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, null));
		try_devices("then");
		err("detached", detach(b, quiet));
		err("again", detach(b, quiet));
		try_devices("at last");
		_exit(0);
	}
	waitpid(p, 0, 0);
	err("a user's", setresuid(-1, 1234, 0));
	err("load", load(all, 2));
	setresuid(-1, 0, 0);
	await_text("gone", in("a/b"), "cgroup.events", "populated 0,frozen 0,");
	rmdir(in("a/b"));
	query(b, 0);
	rmdir(in("a"));
	end();
}

const struct row cgroup_rows[] = {
	{"cgroup.files", files},
	{"cgroup.names", names},
	{"cgroup.procs", procs},
	{"cgroup.events", events},
	{"cgroup.frozen", frozen},
	{"cgroup.calls", calls},
	{"cgroup.kill", killed},
	{"cgroup.control", control},
	{"cgroup.delegation", delegation},
	{"cgroup.into", into},
	{"cgroup.spaces", spaces},
	{"cgroup.threads", threads},
	{"cgroup.devices", devices},
	{0, 0},
};
