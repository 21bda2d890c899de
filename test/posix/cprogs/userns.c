#include "cprogs.h"
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static int put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	if (fd < 0)
		return -1;
	int r = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return r < 0 ? -1 : 0;
}

static void show(const char *file)
{
	char text[512] = "";
	int fd = open(file, O_RDONLY);
	int n = read(fd, text, sizeof text - 1);
	close(fd);
	say("%s: %.*s", file, n > 0 ? n : 0, text);
}

/* become is setuid, and what looks into the process is still its own. */
static void become(unsigned uid)
{
	setgid(uid + 1);
	setuid(uid);
	prctl(PR_SET_DUMPABLE, 1);
}

static void ids(const char *when)
{
	unsigned r, e, s;
	syscall(SYS_getresuid, &r, &e, &s);
	say("%s: uid %u %u %u, gid %u %u", when, r, e, s, getgid(), getegid());
}

static void caps(const char *when)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	syscall(SYS_capget, &h, d);
	say("%s: effective %d permitted %d inheritable %x", when, d[0].effective == ~0u, d[0].permitted == ~0u, d[0].inheritable);
}

static void in_child(void (*f)(void))
{
	int ws;
	if (fork() == 0) {
		f();
		_exit(0);
	}
	wait(&ws);
	if (ws != 0)
		status("child", ws);
}

static void user_of_own(void)
{
	become(1000);
	for (int i = 0; i < 10; i++) /* until the quickest way is taken */
		ids(i == 9 ? "before" : "");
	err("unshare", unshare(CLONE_NEWUSER));
	ids("no map");
	caps("inside");
	show("/proc/self/uid_map");
	err("two ids", put("/proc/self/uid_map", "0 1000 2\n"));
	err("another's id", put("/proc/self/uid_map", "0 0 1\n"));
	err("nonsense", put("/proc/self/uid_map", "0 1000\n"));
	err("its own", put("/proc/self/uid_map", "0 1000 1\n"));
	err("once more", put("/proc/self/uid_map", "0 1000 1\n"));
	err("group before setgroups", put("/proc/self/gid_map", "0 1001 1\n"));
	err("setgroups", put("/proc/self/setgroups", "deny"));
	err("group", put("/proc/self/gid_map", "0 1001 1\n"));
	err("allow again", put("/proc/self/setgroups", "allow"));
	ids("mapped");
	show("/proc/self/uid_map");
	show("/proc/self/gid_map");
	show("/proc/self/setgroups");
	err("set to nobody's", setuid(5));
	err("set to its own", setuid(0));
	err("setgroups", syscall(SYS_setgroups, 0, 0));
	struct stat st;
	stat("/", &st);
	say("root directory's %u %u", st.st_uid, st.st_gid);
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	fstat(fd, &st);
	say("its own file's %u %u", st.st_uid, st.st_gid);
	err("chown to nobody's", fchown(fd, 5, 5));
	err("chown to its own", fchown(fd, 0, 0));
	err("chmod of another's", chmod("/etc", 0755));
	err("read another's", open("/etc/shadow", O_RDONLY));
	err("mknod", mknod("x", S_IFCHR | 0600, 0x103));
	err("sethostname of all", sethostname("x", 1));
	err("mount for all", mount("none", "/tmp", "tmpfs", 0, 0));
	err("raw socket", socket(AF_INET, SOCK_RAW, 1));
	err("reboot", syscall(SYS_reboot, 1, 2, 3, 4));
	err("kill init", kill(1, 0));
	err("once more", unshare(CLONE_NEWUSER));
	ids("two deep");
	err("chroot", chroot("/"));
}

static void hostnames(void)
{
	struct utsname u, v;
	uname(&u);
	err("unshare", unshare(CLONE_NEWUTS));
	err("set", sethostname("inner", 5));
	uname(&v);
	say("now %s", v.nodename);
	char text[65] = "";
	int fd = open("/proc/sys/kernel/hostname", O_RDONLY);
	say("by /proc %ld %.5s", (long)read(fd, text, 64), text);
	close(fd);
}

static void unprivileged_uts(void)
{
	become(1000);
	err("alone", unshare(CLONE_NEWUTS));
	err("with a user's", unshare(CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS));
	err("set", sethostname("inner", 5));
	struct utsname v;
	uname(&v);
	say("now %s", v.nodename);
	err("map", put("/proc/self/uid_map", "0 1000 1"));
	put("/proc/self/setgroups", "deny");
	put("/proc/self/gid_map", "0 1001 1");
	err("mount", mount("none", "/tmp", "tmpfs", 0, 0));
	err("write there", open("/tmp/file", O_CREAT | O_RDWR, 0600));
	err("bind", mount("/tmp", "/mnt", 0, MS_BIND, 0));
	err("seen", access("/mnt/file", F_OK));
	err("umount", umount2("/mnt", MNT_DETACH));
	err("umount what was there", umount2("/proc", MNT_DETACH));
	err("mount proc", mount("proc", "/proc", "nonsense", 0, 0));
}

static void several(void)
{
	struct utsname u, v;
	uname(&u);
	in_child(hostnames);
	uname(&v);
	say("outside as before %d", strcmp(u.nodename, v.nodename) == 0);
	in_child(unprivileged_uts);
	say("not there outside %d", access("/tmp/file", F_OK));
	err("odd flags", unshare(1 << 3));
	err("filesystem shared", syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0));
}

static void users(void) { in_child(user_of_own); }

static void joining(void)
{
	int p[2], ws, up[2];
	char b;
	if (pipe(p) != 0 || pipe(up) != 0)
		return;
	pid_t c = fork();
	if (c == 0) {
		unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS);
		mount(0, "/", 0, MS_PRIVATE | MS_REC, 0);
		sethostname("joined", 6);
		mount("none", "/mnt", "tmpfs", 0, 0);
		mkdir("/mnt/there", 0755);
		write(up[1], "x", 1);
		_exit(read(p[0], &b, 1) != 1);
	}
	read(up[0], &b, 1);
	char name[64], a[64] = "", d[64] = "";
	const char *kinds[] = {"uts", "ipc", "mnt", "user"};
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "/proc/%d/ns/%s", c, kinds[i]);
		readlink(name, a, 63);
		snprintf(name, sizeof name, "/proc/self/ns/%s", kinds[i]);
		readlink(name, d, 63);
		say("%s the same %d", kinds[i], strcmp(a, d) == 0);
	}
	snprintf(name, sizeof name, "/proc/%d/ns/uts", c);
	int fd = open(name, O_RDONLY);
	err("as another kind", setns(fd, CLONE_NEWIPC));
	if (fork() == 0) {
		struct utsname v;
		err("join", setns(fd, CLONE_NEWUTS));
		uname(&v);
		say("now %s", v.nodename);
		int pidfd = syscall(SYS_pidfd_open, c, 0);
		err("all of a process's", setns(pidfd, CLONE_NEWNS | CLONE_NEWIPC));
		err("see its files", access("/mnt/there", F_OK));
		_exit(0);
	}
	wait(&ws);
	err("not here", access("/mnt/there", F_OK));
	err("no namespace", setns(p[0], 0));
	err("no descriptor", setns(99, 0));
	write(p[1], "x", 1);
	waitpid(c, &ws, 0);
	status("it", ws);
}

static void new_root(void)
{
	char dir[300];
	err("unshare", unshare(CLONE_NEWNS));
	err("private", mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
	if (!getcwd(dir, sizeof dir - 20))
		return;
	strcat(dir, "/root");
	mkdir(dir, 0755);
	err("tmpfs", mount("none", dir, "tmpfs", 0, 0));
	chdir(dir);
	mkdir("old", 0755), mkdir("elsewhere", 0755), mkdir("moved", 0755);
	err("outside", syscall(SYS_pivot_root, ".", "/"));
	err("pivot", syscall(SYS_pivot_root, ".", "old"));
	err("a program there", access("/old/bin/sh", X_OK));
	err("none here", access("/bin/sh", X_OK));
	err("chdir", chdir("/"));
	err("mount", mount("none", "/elsewhere", "tmpfs", 0, 0));
	mkdir("/elsewhere/file", 0755);
	err("move", mount("/elsewhere", "/moved", 0, MS_MOVE, 0));
	err("moved", access("/moved/file", F_OK));
	err("not there", access("/elsewhere/file", F_OK));
	err("into itself", mount("/moved", "/moved/file", 0, MS_MOVE, 0));
	err("umount", umount2("/old", MNT_DETACH));
	err("gone", access("/old/bin/sh", X_OK));
	mkdir("/again", 0755);
	err("again", mount("none", "/again", "tmpfs", 0, 0));
	chdir("/again");
	err("onto itself", syscall(SYS_pivot_root, ".", "."));
	err("umount", umount2(".", MNT_DETACH));
	err("empty", access("/again", F_OK));
}

static void pivots(void)
{
	in_child(new_root);
	err("as before", access("/bin/sh", X_OK));
}

static void clones(void)
{
	int ws;
	become(1000);
	pid_t p = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
	if (p == 0) {
		ids("in the clone");
		caps("in the clone");
		err("set", sethostname("x", 1));
		_exit(0);
	}
	waitpid(p, &ws, 0);
	err("clone", p);
	status("it", ws);
	err("without a user's", syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0));
	int up[2], down[2];
	char b, file[64];
	if (pipe(up) != 0 || pipe(down) != 0)
		return;
	p = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (p == 0) {
		write(up[1], "x", 1);
		read(down[0], &b, 1);
		ids("mapped by the parent");
		_exit(0);
	}
	read(up[0], &b, 1);
	snprintf(file, sizeof file, "/proc/%d/uid_map", p);
	err("map", put(file, "7 1000 1"));
	write(down[1], "x", 1);
	waitpid(p, &ws, 0);
	status("it", ws);
}

/* A program that may be executed and not read stays closed to who has made a user
   namespace to look into it from. */
static void unreadable(void)
{
	static char *argv[] = {"sleep", "60", NULL};
	system("cp /bin/sleep hidden; cp /bin/sleep open; chmod 0711 hidden; chmod 0755 . open");
	become(1000);
	if (unshare(CLONE_NEWUSER) == -1)
		err("unshare", -1);
	put("/proc/self/uid_map", "0 1000 1\n");
	for (int which = 0; which < 2; which++) {
		const char *name = which ? "open" : "./hidden";
		int started[2];
		pipe2(started, O_CLOEXEC);
		pid_t pid = fork();
		if (pid == 0) {
			execv(name, argv);
			_exit(1);
		}
		close(started[1]);
		char c, mem[64];
		read(started[0], &c, 1); /* its end: the program runs */
		say("%s", name);
		snprintf(mem, sizeof mem, "/proc/%d/mem", pid);
		err("memory", open(mem, O_RDONLY));
		snprintf(mem, sizeof mem, "/proc/%d/maps", pid);
		err("maps", open(mem, O_RDONLY));
		err("seize", ptrace(PTRACE_SEIZE, pid, 0, 0));
		err("end it", kill(pid, SIGKILL));
		waitpid(pid, NULL, 0);
	}
}

/* Whose a socket is, as one is told who asks from within. */
static void diagnosis(void)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req q;
	} ask = {{sizeof ask, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0}, {.sdiag_family = AF_UNIX, .udiag_states = -1, .udiag_show = UDIAG_SHOW_UID, .udiag_cookie = {-1, -1}}};
	struct stat st;
	fstat(socket(AF_UNIX, SOCK_STREAM, 0), &st);
	ask.q.udiag_ino = st.st_ino;
	err("unshare", unshare(CLONE_NEWUSER));
	for (int mapped = 0; mapped < 2; mapped++) {
		if (mapped)
			err("map", put("/proc/self/uid_map", "7 0 1"));
		char b[4096];
		int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
		send(fd, &ask, sizeof ask, 0);
		int n = recv(fd, b, sizeof b, 0);
		struct nlmsghdr *h = (void *)b;
		say("answer %d", h->nlmsg_type);
		for (int at = NLMSG_LENGTH(sizeof(struct unix_diag_msg)); at + 8 <= n; at += NLA_ALIGN(((struct nlattr *)(b + at))->nla_len))
			if (((struct nlattr *)(b + at))->nla_type == UNIX_DIAG_UID)
				say("uid %u, mine %u", *(unsigned *)(b + at + 4), getuid());
		close(fd);
	}
}

static char mounted[] = "/tmp/mounted-XXXXXX";

static void options_of(const char *when)
{
	struct statfs s;
	if (statfs(mounted, &s) != 0)
		err(when, -1);
	else
		say("%s: type %lx, flags %lx", when, s.f_type, s.f_flags);
}

/* remount changes the options, of the one mount only if bind says so. */
static void remount(const char *how, unsigned long flags, unsigned long bind)
{
	err(how, mount(0, mounted, 0, MS_REMOUNT | bind | flags, 0));
	options_of(how);
}

static void by_the_link(void)
{
	struct stat st;
	char to[64], link[64];
	snprintf(link, sizeof link, "%s/link", mounted);
	err("stat", stat(link, &st));
	err("lstat", lstat(link, &st));
	err("open", open(link, O_RDONLY));
	err("readlink", readlink(link, to, sizeof to));
}

/* by_whom says whose the root is: by its number, as nobody has any in the namespace. */
static void by_whom(void)
{
	struct stat st;
	err("root", stat(mounted, &st));
	say("of %d %d, mode %o", st.st_uid, st.st_gid, st.st_mode);
}

static void powerless(void)
{
	setgid(1001);
	setuid(1000);
	prctl(PR_SET_DUMPABLE, 1);
	err("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS));
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", "7 1000 1");
	put("/proc/self/gid_map", "8 1001 1");
	remount("nothing said", 0, MS_BIND);
	remount("what it had", MS_NOSUID | MS_NODEV, MS_BIND);
	remount("other times", MS_NOSUID | MS_NODEV | MS_RELATIME, MS_BIND);
	remount("more", MS_NOSUID | MS_NODEV | MS_RDONLY, MS_BIND);
	remount("the file system itself", MS_NOSUID | MS_NODEV | MS_RDONLY, 0);
	err("its own", mount("none", mounted, "ramfs", MS_NOSUID | MS_NOATIME, 0));
	by_whom();
	err("another's", mount("none", mounted, "tmpfs", 0, "uid=1,mode=750"));
	err("no such option", mount("none", mounted, "tmpfs", 0, "nonsense"));
	umount(mounted);
	remount("its own", MS_RELATIME, MS_BIND);
}

static void remounts(void)
{
	err("unshare", unshare(CLONE_NEWNS));
	err("private", mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
	mkdtemp(mounted);
	err("ramfs", mount("none", mounted, "ramfs", 0, "mode=750,nonsense"));
	struct stat st;
	stat(mounted, &st);
	say("mode %o", st.st_mode);
	options_of("new");
	char name[64];
	snprintf(name, sizeof name, "%s/link", mounted);
	symlink("/", name);
	remount("no symlinks", MS_NOSYMFOLLOW, 0);
	by_the_link();
	remount("symlinks", 0, 0);
	by_the_link();
	remount("noatime", MS_NOATIME, 0);
	remount("nothing of times", MS_RDONLY, 0);
	remount("nodiratime", MS_NODIRATIME, 0);
	remount("strict", MS_STRICTATIME | MS_NOATIME, 0);
	remount("for others", MS_NOSUID | MS_NODEV | MS_NOATIME, 0);
	in_child(powerless);
	err("umount", umount(mounted));
	rmdir(mounted);
}

const struct row userns_rows[] = {{"userns.unreadable", unreadable}, {"userns.users", users}, {"userns.several", several}, {"userns.joining", joining}, {"userns.pivot", pivots}, {"userns.clone", clones}, {"userns.remounts", remounts}, {"userns.diagnosis", diagnosis}, {0, 0}};
