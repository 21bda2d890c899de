// What a guest's user without power must not come to have, whatever its process
// does to itself. Each is tried by a child of the first process, which is root and
// looks afterwards.
#include "hostile.h"
#include <linux/capability.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>

enum { NOBODY = 65534, FIRST_FD = 8, LAST_FD = 40 };

// keep_open has the main thread's answers leave open what they map: it writes over
// the call that closes it, in the slot.
static volatile int stop_keeping;

static void *keep_open(void *arg)
{
	volatile unsigned *nr = (void *)(SLOTS + 0x300 + 4);
	(void)arg;
	while (!stop_keeping)
		for (int op = 0; op < 8; op++)
			if (nr[16 * op] == SYS_close)
				nr[16 * op] = SYS_gettid;
	return 0;
}

// write_shared maps every descriptor that the process still holds so that what is
// written goes to the file, and writes.
static void write_shared(void)
{
	for (int fd = FIRST_FD; fd < LAST_FD; fd++) {
		if (fork() == 0) { // who does what it may not is ended
			void *at = (void *)0x10000000;
			if (gadget(SYS_mmap, (unsigned long)at, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == (long)at)
				strcpy(at, "changed");
			_exit(0);
		}
		wait(0);
	}
}

// map_readonly has map map memory that may only be read, and then tries to write to
// what is behind it.
static void map_readonly(void *(*map)(void))
{
	pthread_t t;
	pthread_create(&t, 0, keep_open, 0);
	for (int i = 0; i < 200; i++)
		if (map() == MAP_FAILED)
			_exit(3);
	void *p = map();
	if (fork() == 0) {
		gadget(SYS_mprotect, (unsigned long)p, 4096, PROT_READ | PROT_WRITE, 0, 0, 0);
		strcpy(p, "changed");
		_exit(0);
	}
	wait(0);
	stop_keeping = 1;
	pthread_join(t, 0);
	write_shared();
	_exit(0);
}

static int file, segment;

static void *map_file_private(void) { return mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0); }
static void *map_file_shared(void) { return mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0); }
static void *attach_segment(void) { return shmat(segment, 0, SHM_RDONLY); }

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(2);
}

// as_nobody runs attack(arg) in a process of an ordinary user.
static void as_nobody(void (*attack)(void *(*)(void)), void *(*arg)(void))
{
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		alarm(20);
		become_nobody();
		attack(arg);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		printf("the attacker ended with %#x\n", status);
}

static int told(const char *what, int gained)
{
	printf("%s: %s\n", what, gained ? "GAINED" : "held");
	return gained;
}

static int readonly_file(const char *what, void *(*map)(void))
{
	char buf[4096] = "original";
	int rw = open("/dev/shm/readonly", O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (rw < 0 || write(rw, buf, sizeof buf) != sizeof buf || (file = open("/dev/shm/readonly", O_RDONLY)) < 0)
		return told(what, 1);
	as_nobody(map_readonly, map);
	if (pread(rw, buf, sizeof buf, 0) < 0)
		return told(what, 1);
	close(rw);
	close(file);
	unlink("/dev/shm/readonly");
	return told(what, strcmp(buf, "original") != 0);
}

static int readonly_segment(void)
{
	segment = shmget(IPC_PRIVATE, 4096, 0644);
	char *p = shmat(segment, 0, 0);
	if (p == MAP_FAILED)
		return told("segment", 1);
	strcpy(p, "original");
	as_nobody(map_readonly, attach_segment);
	int gained = strcmp(p, "original") != 0;
	shmctl(segment, IPC_RMID, 0);
	return told("segment", gained);
}

// looks_into says whether an ordinary user's process can look into process pid, change
// its limits if they are not to be its, or trace it.
static int looks_into(pid_t pid, int limits)
{
	char path[64], byte;
	int status;
	pid_t looker = fork();
	if (looker == 0) {
		struct iovec mine = {&byte, 1}, its = {&path, 1}; // fork and exec leave it there, or not at all
		struct rlimit none = {0, 0};
		void *head;
		size_t size;
		int can = 0;
		become_nobody();
		sprintf(path, "/proc/%d/mem", pid);
		can |= (open(path, O_RDONLY) >= 0) << 0;
		sprintf(path, "/proc/%d/fd", pid);
		can |= (open(path, O_RDONLY) >= 0 && access(strcat(path, "/0"), F_OK) == 0) << 1;
		can |= (process_vm_readv(pid, &mine, 1, &its, 1, 0) == 1 || errno != EPERM) << 2;
		can |= (syscall(SYS_get_robust_list, pid, &head, &size) == 0) << 3;
		can |= (limits && prlimit(pid, RLIMIT_FSIZE, &none, 0) == 0) << 4;
		can |= (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) << 5;
		_exit(can);
	}
	waitpid(looker, &status, 0);
	if (status)
		printf("the looker ended with %#x\n", status);
	return status != 0;
}

// A process that was root and gave that up may hold what its user must not have.
static int dropped(void)
{
	int fds[2];
	char c;
	if (pipe(fds))
		return told("given up root", 1);
	pid_t pid = fork();
	if (pid == 0) {
		become_nobody();
		c = write(fds[1], "x", 1);
		pause();
		_exit(c);
	}
	if (read(fds[0], &c, 1) != 1)
		return told("given up root", 1);
	int gained = looks_into(pid, 0);
	kill(pid, SIGKILL);
	waitpid(pid, 0, 0);
	close(fds[0]);
	close(fds[1]);
	return told("given up root", gained);
}

// reads says which of the descriptors, from first on, give anything.
static int reads(int first, int n)
{
	char buf[4096];
	int got = 0;
	for (int i = 0; i < n; i++)
		got |= (read(first + i, buf, sizeof buf) > 0) << i;
	return got;
}

// open_own opens what tells of a process's memory and more, as its own; its child reads it
// once it has become another program, and is told so by go.
static void open_own(int go, int said)
{
	static const char *const names[] = {"maps", "smaps", "environ", "auxv", "personality", "syscall", "io"};
	enum { FIRST = 50, NAMES = sizeof names / sizeof *names };
	char path[64], c;
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	for (int i = 0; i < NAMES; i++) {
		sprintf(path, "/proc/self/%s", names[i]);
		int fd = open(path, O_RDONLY);
		if (fd < 0 || dup2(fd, FIRST + i) < 0)
			_exit(2);
		close(fd);
	}
	if (fork() == 0) {
		if (read(go, &c, 1) == 1) {
			c = reads(FIRST, NAMES);
			c = write(said, &c, 1);
		}
		_exit(0);
	}
}

// A set-user-ID program that a user has started.
static int set_id(const char *self)
{
	int fds[2], go[2], said[2];
	char c, cmd[256], own = 1;
	if (pipe(fds) || pipe(go) || pipe(said) || !strchr(self, '/'))
		return told("set-id program", 1);
	snprintf(cmd, sizeof cmd, "cp %s /set-id && chmod 4755 /set-id", self);
	if (system(cmd))
		return told("set-id program", 1);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		become_nobody();
		open_own(go[0], said[1]);
		execl("/set-id", "set-id", "wait", (char *)0);
		_exit(2);
	}
	int gained = read(fds[0], &c, 1) != 1 || c != '0' || looks_into(pid, 1);
	if (write(go[1], "x", 1) != 1 || read(said[0], &own, 1) != 1 || own) {
		printf("opened before: %#x\n", own);
		gained = 1;
	}
	kill(pid, SIGKILL);
	waitpid(pid, 0, 0);
	unlink("/set-id");
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(go[i]);
		close(said[i]);
	}
	return told("set-id program", gained);
}

// Root without capabilities that has promised to gain none: PR_SET_NO_NEW_PRIVS.
static int promised(const char *self)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
		if (syscall(SYS_capset, &h, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			_exit(2);
		execl(self, self, "caps", (char *)0);
		_exit(3);
	}
	waitpid(pid, &status, 0);
	return told("no new privileges", status != 0);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

// own_namespaces makes an ordinary user root, of a user namespace with mounts of its own.
static void own_namespaces(void)
{
	become_nobody();
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) || write_file("/proc/self/setgroups", "deny") ||
		write_file("/proc/self/uid_map", "0 65534 1") || write_file("/proc/self/gid_map", "0 65534 1"))
		_exit(2);
}

static int tried(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) != pid || status) {
		printf("the attacker ended with %#x\n", status);
		return 1;
	}
	return 0;
}

// A descriptor of a directory leads to the namespace of mounts that it was opened in.
static int others_mounts(void)
{
	struct stat before, after;
	mkdir("/dev/shm/theirs", 0755);
	mkdir("/dev/shm/theirs/m", 0755);
	if (mount("none", "/dev/shm/theirs/m", "tmpfs", MS_RDONLY, 0) || stat("/dev/shm/theirs", &before))
		return told("mounts of others", 1);
	pid_t pid = fork();
	if (pid == 0) {
		char at[64], m[64];
		sprintf(at, "/proc/self/fd/%d", open("/dev/shm/theirs", O_PATH));
		sprintf(m, "/proc/self/fd/%d", open("/dev/shm/theirs/m", O_PATH));
		own_namespaces();
		mount("none", at, "tmpfs", 0, 0);
		mount("/tmp", at, 0, MS_BIND, 0);
		mount(0, m, 0, MS_REMOUNT | MS_BIND, 0);
		mount(m, "/mnt", 0, MS_MOVE, 0);
		umount2(m, MNT_DETACH);
		// Of theirs, not even a copy may be had.
		_exit(!mount(m, "/tmp", 0, MS_BIND, 0));
	}
	int gained = tried(pid) || stat("/dev/shm/theirs", &after) || before.st_dev != after.st_dev ||
		access("/dev/shm/theirs/m/x", F_OK) == 0 || open("/dev/shm/theirs/m/y", O_CREAT | O_WRONLY, 0600) >= 0 || errno != EROFS;
	umount("/dev/shm/theirs/m");
	rmdir("/dev/shm/theirs/m");
	rmdir("/dev/shm/theirs");
	return told("mounts of others", gained);
}

// What a mount hides stays hidden from who has mounts only by a user namespace.
static int hidden(void)
{
	mkdir("/dev/shm/over", 0755);
	int fd = open("/dev/shm/over/secret", O_CREAT | O_WRONLY, 0644);
	if (fd < 0 || mount("none", "/dev/shm/over", "tmpfs", 0, 0))
		return told("hidden by a mount", 1);
	pid_t pid = fork();
	if (pid == 0) {
		own_namespaces();
		int seen = !umount2("/dev/shm/over", MNT_DETACH);
		if (!mount("none", "/tmp", "tmpfs", 0, 0) && !mkdir("/tmp/a", 0755) && !mkdir("/tmp/b", 0755)) {
			mount("/dev/shm", "/tmp/a", 0, MS_BIND, 0);
			seen |= !access("/tmp/a/over/secret", F_OK);
			seen |= mount("/dev/shm", "/tmp/b", 0, MS_BIND | MS_REC, 0); // which may be
			umount2("/tmp/b/over", MNT_DETACH);
			seen |= !access("/tmp/b/over/secret", F_OK);
		}
		_exit(seen);
	}
	int gained = tried(pid);
	umount("/dev/shm/over");
	unlink("/dev/shm/over/secret");
	rmdir("/dev/shm/over");
	return told("hidden by a mount", gained);
}

// Who may not write a user namespace's map can open it, and have a program with power
// write to it: by its standard error, for one.
static int lent_map(void)
{
	int go[2], map, status;
	char c = 0, path[64], text[64] = "";
	if (pipe(go))
		return told("map of a user namespace", 1);
	pid_t pid = fork();
	if (pid == 0) {
		become_nobody();
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		if (unshare(CLONE_NEWUSER) || write(go[1], "x", 1) != 1)
			_exit(2);
		pause();
	}
	if (read(go[0], &c, 1) != 1)
		return told("map of a user namespace", 1);
	sprintf(path, "/proc/%d/uid_map", pid);
	pid_t opener = fork();
	if (opener == 0) {
		// Root again for the write, as a set-user-ID program is.
		if (seteuid(NOBODY) || (map = open(path, O_WRONLY)) < 0 || seteuid(0))
			_exit(2);
		_exit(write(map, "0 0 1", 5) == 5);
	}
	waitpid(opener, &status, 0);
	map = open(path, O_RDONLY);
	int gained = status || read(map, text, sizeof text) != 0;
	kill(pid, SIGKILL);
	waitpid(pid, 0, 0);
	close(go[0]);
	close(go[1]);
	close(map);
	return told("map of a user namespace", gained);
}

// The programs that gains executes.
int gains_program(const char *what)
{
	if (!strcmp(what, "caps")) {
		struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct has[2];
		return syscall(SYS_capget, &h, has) || has[0].effective || has[0].permitted || has[1].permitted;
	}
	if (write(1, geteuid() == 0 ? "0" : "1", 1) == 1)
		pause();
	return 1;
}

int gains(const char *self)
{
	return others_mounts() + hidden() + lent_map() + dropped() + set_id(self) + promised(self) + readonly_file("file, private", map_file_private) + readonly_file("file, shared", map_file_shared) + readonly_segment();
}
