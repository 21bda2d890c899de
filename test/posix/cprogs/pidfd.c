/* What descriptors of processes and of namespaces tell, and what /proc tells of pages. */
#include "cprogs.h"

#include <sys/ioctl.h>

/* struct pidfd_info of linux/pidfd.h */
struct info_ {
	uint64_t mask, cgroup;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t code;
	uint32_t core, signal;
	uint64_t spare[3];
};
enum { SELF_THREAD_ = -10000, SELF_ = -10001 };

static int ask(const char *what, int fd, uint64_t mask, int size)
{
	struct info_ i;
	memset(&i, 0xaa, sizeof i);
	i.mask = mask;
	int r = ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, size), &i);
	if (r < 0) {
		err(what, r);
		return r;
	}
	say("%s: mask %lx, group %d", what, i.mask, i.cgroup != 0);
	if (i.mask & 1)
		say("  pid %d, tgid %d, ppid %d", i.pid == i.tgid, i.pid == (uint32_t)getpid(), i.ppid == (uint32_t)getpid() || i.ppid == (uint32_t)getppid());
	if (i.mask & 2)
		for (int n = 0; n < 8; n++)
			say("  %u", i.ids[n]);
	if (i.mask & 8)
		say("  code %x", i.code);
	if (i.mask & 16)
		say("  core %x", i.core);
	return 0;
}

static void told(void)
{
	int fd = syscall(SYS_pidfd_open, getpid(), 0);
	ask("nothing", fd, 0, 64);
	ask("three", fd, 7, 64);
	ask("exit", fd, 15, 72);
	ask("core", fd, 16, 72);
	ask("all", fd, 31, 80);
	ask("too small", fd, 7, 48);
	ask("larger", fd, 7, 96);
	err("no struct", ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 64), 0));
	err("another direction", ioctl(fd, _IO(0xff, 11), 0));
	err("no such request", ioctl(fd, _IO(0xff, 99), 0));
	struct stat a, b, c;
	int again = syscall(SYS_pidfd_open, getpid(), 0), parent = syscall(SYS_pidfd_open, getppid(), 0);
	fstat(fd, &a);
	fstat(again, &b);
	fstat(parent, &c);
	say("mode %o, same %d, another's %d", a.st_mode, a.st_ino == b.st_ino && a.st_dev == b.st_dev, a.st_ino == c.st_ino);
	err("chmod", fchmod(fd, 0600));

	pid_t p = fork();
	if (p == 0) {
		pause();
		_exit(0);
	}
	fd = syscall(SYS_pidfd_open, p, 0);
	ask("a child", fd, 15, 72);
	kill(p, SIGTERM);
	siginfo_t si;
	waitid(P_PID, p, &si, WEXITED | WNOWAIT);
	ask("ended", fd, 31, 72);
	err("its namespace", ioctl(fd, _IO(0xff, 10), 0));
	waitid(P_PID, p, &si, WEXITED);
	ask("waited for", fd, 8, 72);
	ask("and the ids", fd, 15, 72);
	ask("the ids", fd, 3, 72);
	err("its namespace", ioctl(fd, _IO(0xff, 10), 0));
}

static void theirs(void)
{
	static const struct {
		int nr;
		const char *name;
	} kinds[] = {{1, "cgroup"}, {2, "ipc"}, {3, "mnt"}, {4, "net"}, {5, "pid"}, {6, "pid_for_children"}, {9, "user"}, {10, "uts"}};
	int fd = syscall(SYS_pidfd_open, getpid(), 0);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char name[64];
		struct stat a, b;
		snprintf(name, sizeof name, "/proc/self/ns/%s", kinds[i].name);
		int ns = ioctl(fd, _IO(0xff, kinds[i].nr), 0);
		if (ns < 0 || stat(name, &a) < 0 || fstat(ns, &b) < 0)
			err(name, -1);
		else
			say("%s: %d, close on exec %d", name, a.st_ino == b.st_ino && a.st_dev == b.st_dev, fcntl(ns, F_GETFD));
	}
	err("an argument", ioctl(fd, _IO(0xff, 10), 1));
}

static volatile int got;

static void on(int sig)
{
	got = sig;
}

static void self(void)
{
	signal(SIGUSR1, on);
	err("thread", syscall(SYS_pidfd_send_signal, SELF_THREAD_, SIGUSR1, 0, 0));
	say("%d", got);
	got = 0;
	err("process", syscall(SYS_pidfd_send_signal, SELF_, SIGUSR1, 0, 0));
	say("%d", got);
	err("nobody", syscall(SYS_pidfd_send_signal, -10002, SIGUSR1, 0, 0));
	err("getfd", syscall(SYS_pidfd_getfd, SELF_, 0, 0));
	char *p = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 7, 4 * 4096);
	struct iovec v[3] = {{p, 4096}, {p + 2 * 4096, 4096}, {p + 1, 4096}};
	say("advice: %ld", syscall(SYS_process_madvise, SELF_, v, 2, MADV_DONTNEED, 0));
	say("%d %d %d %d", p[0], p[4096], p[2 * 4096], p[3 * 4096]);
	say("and then one that is not: %ld", syscall(SYS_process_madvise, SELF_THREAD_, v, 3, MADV_DONTNEED, 0));
	err("at once", syscall(SYS_process_madvise, SELF_, v + 2, 1, MADV_DONTNEED, 0));
	err("no such advice", syscall(SYS_process_madvise, SELF_, v, 1, 5, 0));
}

/* struct mnt_ns_info of linux/nsfs.h */
struct mounts_ {
	uint32_t size, mounts;
	uint64_t id;
};
enum { INFO_ = 10, NEXT_, PREV_ };

static int beside(int fd, int which, struct mounts_ *m)
{
	return ioctl(fd, _IOC(_IOC_READ, 0xb7, which, sizeof *m), m);
}

static void mountspaces(void)
{
	struct mounts_ a = {0}, m = {0};
	uint64_t id = 0, own = 0;
	err("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS));
	int first = open("/proc/self/ns/mnt", O_RDONLY);
	err("info", beside(first, INFO_, &a));
	err("its number", ioctl(first, _IOR(0xb7, 5, uint64_t), &id));
	err("of any kind", ioctl(first, _IOR(0xb7, 13, uint64_t), &own));
	say("size %d, mounts %d, same %d %d", a.size, a.mounts > 0, a.id == id, own == id);
	err("next", beside(first, NEXT_, &m));
	err("before", beside(first, PREV_, &m));
	err("short", ioctl(first, _IOC(_IOC_READ, 0xb7, INFO_, 12), &m));
	err("nowhere", ioctl(first, _IOC(_IOC_READ, 0xb7, INFO_, sizeof m), 0));
	int uts = open("/proc/self/ns/uts", O_RDONLY);
	err("of another kind", beside(uts, INFO_, &m));
	err("next", beside(uts, NEXT_, &m));
}

/* line finds a line of a file of /proc with some text, and says whether it is there. */
static int line(const char *file, const char *text)
{
	char l[1024];
	int found = 0;
	FILE *f = fopen(file, "r");
	while (f && fgets(l, sizeof l, f))
		found |= strstr(l, text) != 0;
	if (f)
		fclose(f);
	return found;
}

static void pages(void)
{
	char *p = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), name[128], target[256], own[256];
	uint64_t e[4] = {0};
	p[4096] = 1;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	say("pagemap: %d", (int)pread(fd, e, sizeof e, (uintptr_t)p / 4096 * 8));
	for (int i = 0; i < 4; i++)
		say("  present %d, file %d", (int)(e[i] >> 63), (int)(e[i] >> 61 & 1));
	err("half an entry", pread(fd, e, 12, 0));
	err("between two", pread(fd, e, 8, 4));
	say("past all: %d", (int)pread(fd, e, 8, 1l << 60));
	err("write", write(fd, e, 8));
	int refs = open("/proc/self/clear_refs", O_WRONLY);
	err("clear", write(refs, "1\n", 2));
	err("clear what", write(refs, "0\n", 2));
	err("read it", open("/proc/self/clear_refs", O_RDWR));
	say("vsyscall: %d", line("/proc/self/maps", "--xp 00000000 00:00 0                  [vsyscall]"));
	if (line("/proc/self/maps", "[vsyscall]")) {
		time_t then = time(0), now = ((time_t(*)(time_t *))0xffffffffff600400)(0);
		say("called: %d", now >= then && now <= then + 60);
		struct timeval tv;
		say("called: %d", ((int (*)(struct timeval *, void *))0xffffffffff600000)(&tv, 0));
		say("%d", tv.tv_sec >= then && tv.tv_sec <= then + 60);
	}
	own[readlink("/proc/self/exe", own, sizeof own - 1)] = 0;
	say("numa_maps: %d %d %d", line("/proc/self/numa_maps", " default file="), line("/proc/self/numa_maps", " N0="), line("/proc/self/numa_maps", " stack"));
	unsigned long from, to;
	FILE *f = fopen("/proc/self/maps", "r");
	if (!f || fscanf(f, "%lx-%lx", &from, &to) != 2)
		return;
	snprintf(name, sizeof name, "/proc/self/map_files/%lx-%lx", from, to);
	int n = readlink(name, target, sizeof target - 1);
	target[n < 0 ? 0 : n] = 0;
	say("map_files: %d", strcmp(target, own) == 0);
	struct stat a, b;
	err("through it", stat(name, &a));
	stat("/proc/self/exe", &b);
	say("%d", a.st_ino == b.st_ino);
	lstat(name, &a);
	say("mode %o", a.st_mode);
	snprintf(name, sizeof name, "/proc/self/map_files/%lx-%lx", from, to + 4096);
	err("none such", lstat(name, &a));
	int filter = open("/proc/self/coredump_filter", O_RDWR);
	err("filter", write(filter, "0xfff\n", 6));
	say("%d", line("/proc/self/coredump_filter", "000001ff"));
	if (fork() == 0) {
		say("inherited: %d", line("/proc/self/coredump_filter", "000001ff"));
		_exit(0);
	}
	wait(0);
	err("not a number", write(filter, "x\n", 2));
	static char text[256];
	long c[9] = {0};
	fd = open("/proc/self/syscall", O_RDONLY);
	n = read(fd, text, sizeof text - 1);
	sscanf(text, "%ld %lx %lx %lx %lx %lx %lx %lx %lx", c, c + 1, c + 2, c + 3, c + 4, c + 5, c + 6, c + 7, c + 8);
	say("call %ld(%d, %d, %d), stack %d, text %d", c[0], c[1] == fd, c[2] == (long)text, c[3] == sizeof text - 1,
	    labs(c[7] - (long)&c) < 65536, c[8] != 0);
	say("ksm: %d, merging: %d", line("/proc/self/ksm_stat", "ksm_rmap_items 0"), line("/proc/self/ksm_merging_pages", "0"));
}

/* A setting's mode counts for root too. */
static void sysctls(void)
{
	static const char *const names[] = {"vm/drop_caches", "vm/compact_memory", "vm/mmap_rnd_bits", "kernel/usermodehelper/bset", "kernel/tainted",
	                                    "kernel/seccomp/actions_avail", "kernel/seccomp/actions_logged", "vm/page-cluster", "fs/dir-notify-enable"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128], text[256] = "";
		struct stat st = {0};
		snprintf(path, sizeof path, "/proc/sys/%s", names[i]);
		stat(path, &st);
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			err(path, fd);
		say("%s: %o", path, st.st_mode);
		if (strstr(path, "seccomp") && read(fd, text, sizeof text - 1) > 0)
			say("%s", text);
		close(fd);
	}
}

const struct row pidfd_rows[] = {
	{"pidfd.info", told},
	{"pidfd.namespaces", theirs},
	{"pidfd.self", self},
	{"pidfd.mountspaces", mountspaces},
	{"proc.pages", pages},
	{"proc.sysctl", sysctls},
	{0, 0},
};
