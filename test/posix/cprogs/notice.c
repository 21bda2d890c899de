/* What tells by a signal: leases and F_NOTIFY of fcntl(2). */
#include "cprogs.h"

#define PATIENCE 20 /* seconds, for a signal that is sure to come */

static int await(const char *what, int fd)
{
	siginfo_t i;
	sigset_t set;
	struct timespec t = {PATIENCE, 0};
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	if (sigtimedwait(&set, &i, &t) == -1) {
		err(what, -1);
		return -1;
	}
	say("%s: code %d, the descriptor %d, band %#lx", what, i.si_code, i.si_fd == fd, (long)i.si_band);
	return 0;
}

static void block(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static const char *kind(int fd)
{
	switch (fcntl(fd, F_GETLEASE)) {
	case F_RDLCK:
		return "read";
	case F_WRLCK:
		return "write";
	case F_UNLCK:
		return "none";
	}
	return strerrorname_np(errno);
}

static void lease(void)
{
	block();
	int w = open("file", O_CREAT | O_RDWR, 0644), p[2];
	pipe(p);
	err("read, open for writing", fcntl(w, F_SETLEASE, F_RDLCK));
	err("no such", fcntl(w, F_SETLEASE, 7));
	err("none to end", fcntl(w, F_SETLEASE, F_UNLCK));
	err("of a pipe", fcntl(p[0], F_SETLEASE, F_RDLCK));
	err("of a directory", fcntl(open(".", O_RDONLY), F_SETLEASE, F_RDLCK));
	err("write", fcntl(w, F_SETLEASE, F_WRLCK));
	say("kind %s", kind(w));
	fcntl(w, F_SETSIG, SIGRTMIN);
	err("open meanwhile", open("file", O_RDONLY | O_NONBLOCK));
	await("told", w);
	say("kind %s", kind(w));
	err("to read", fcntl(w, F_SETLEASE, F_UNLCK));
	int r = open("file", O_RDONLY | O_NONBLOCK);
	err("open", r);
	err("write, open twice", fcntl(w, F_SETLEASE, F_WRLCK));
	close(w);
	err("read", fcntl(r, F_SETLEASE, F_RDLCK));
	fcntl(r, F_SETSIG, SIGRTMIN);
	int r2 = open("file", O_RDONLY | O_NONBLOCK);
	err("open for reading", r2);
	err("a second", fcntl(r2, F_SETLEASE, F_RDLCK));
	err("ended", fcntl(r2, F_SETLEASE, F_UNLCK));
	say("kinds %s %s", kind(r), kind(r2));

	pid_t pid = fork(); /* waits for the lease to end */
	if (pid == 0) {
		int fd = open("file", O_WRONLY);
		_exit(fd == -1 ? errno : 0);
	}
	await("told", r);
	say("kind %s", kind(r));
	err("end", fcntl(r, F_SETLEASE, F_UNLCK));
	int ws;
	waitpid(pid, &ws, 0);
	status("opened", ws);

	close(r2);
	err("read again", fcntl(r, F_SETLEASE, F_RDLCK));
	say("signal %d", fcntl(r, F_GETSIG));
	fcntl(r, F_SETSIG, SIGRTMIN);
	pid = fork();
	if (pid == 0)
		_exit(truncate("file", 5) == -1 ? errno : 0);
	await("told", r);
	err("end", fcntl(r, F_SETLEASE, F_UNLCK));
	waitpid(pid, &ws, 0);
	status("truncated", ws);

	err("read once more", fcntl(r, F_SETLEASE, F_RDLCK));
	close(r); /* a file's end is its lease's */
	w = open("file", O_WRONLY | O_NONBLOCK);
	err("open for writing", w);
	close(w);

	chown("file", 1, 1);
	r = open("file", O_RDONLY);
	setuid(2);
	err("of somebody else", fcntl(r, F_SETLEASE, F_RDLCK));
}

static void directory(void)
{
	block();
	int f = open("file", O_CREAT | O_RDWR, 0644), d = open(".", O_RDONLY);
	err("of a file", fcntl(f, F_NOTIFY, DN_CREATE));
	err("of nothing", fcntl(d, F_NOTIFY, 0));
	fcntl(d, F_SETSIG, SIGRTMIN);
	err("create, once", fcntl(d, F_NOTIFY, DN_CREATE));
	close(open("new", O_CREAT | O_RDWR, 0644));
	await("created", d);
	close(open("newer", O_CREAT | O_RDWR, 0644));
	err("modify and rename", fcntl(d, F_NOTIFY, DN_MODIFY | DN_RENAME | DN_MULTISHOT));
	if (write(f, "x", 1) == 1)
		await("modified", d);
	rename("new", "newest");
	await("renamed", d);
	err("no more", fcntl(d, F_NOTIFY, 0));
	if (write(f, "x", 1) == 1)
		say("written");
	err("attributes and ends", fcntl(d, F_NOTIFY, DN_ATTRIB | DN_DELETE | DN_MULTISHOT));
	chmod("newer", 0600);
	await("changed", d);
	unlink("newer");
	await("removed", d);
	sigset_t left;
	sigpending(&left);
	say("another one %d", sigismember(&left, SIGRTMIN));
}

const struct row notice_rows[] = {
	{"notice.lease", lease},
	{"notice.directory", directory},
	{NULL, NULL},
};
