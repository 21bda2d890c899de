#include "cprogs.h"

#include <sys/fsuid.h>

/*
 * Paths that are asked about again and again, whether they are symbolic links: the sandbox
 * answers by a site that has been called often, without its kernel, until something may
 * have changed. All changes are told to who asks by memory alone, so that nothing but the
 * change itself can have made the sandbox look again.
 */

enum { HOT = 48, ROUNDS = 48 };

static char dir[128], name[256], other[256], buf[256];

__attribute__((noinline)) static long link_of(const char *path, char *b, long n)
{
	long r = syscall(SYS_readlink, path, b, n);
	return r < 0 ? -errno : r;
}

/* often asks many times, and gives the answer if it was always the same. */
static long often(const char *path)
{
	long r = link_of(path, buf, sizeof buf);
	for (int i = 0; i < HOT; i++)
		if (link_of(path, buf, sizeof buf) != r)
			return -1000;
	return r;
}

static void begin(void)
{
	snprintf(dir, sizeof dir, "%s/links.%d", getenv("SCRATCH"), getpid());
	mkdir(dir, 0700);
	snprintf(name, sizeof name, "%s/name", dir);
	snprintf(other, sizeof other, "%s/other", dir);
}

static void done(void)
{
	unlink(name);
	unlink(other);
	rmdir(name);
	rmdir(other);
	rmdir(dir);
}

static void make(const char *path)
{
	close(open(path, O_CREAT | O_WRONLY, 0600));
}

/* What is asked for, at all lengths and places that a record might hold or not. */
static void paths(void)
{
	begin();
	make(name);
	say("file %ld, dir %ld, root %ld", often(name), often(dir), often("/"));
	say("nothing %ld, below a file %ld", often("/nothing/here"), often("/etc/passwd/x"));
	say("none %ld, relative %ld, dots %ld %ld", often(""), often("nothing"), often("/etc/../etc"), often("/etc/./passwd"));
	say("slash %ld, slashes %ld, of a file %ld", often("/etc/"), often("//etc"), often("/etc/passwd/"));
	say("no room %ld, less %ld, nowhere %ld", link_of(name, buf, 0), link_of(name, buf, -1), link_of(name, 0, 5));
	say("no path %ld, bad %ld, the kernel's %ld", link_of(0, buf, 9), link_of((char *)8, buf, 9), link_of((char *)0x7fffffffefff, buf, 9));
	char *edge = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(edge + 4096 - strlen(name) - 1, name);
	say("up to the page's end %ld", often(edge + 4096 - strlen(name) - 1));
	strcpy(edge + 4096 - 9, name);
	say("over it %ld", often(edge + 4096 - 9));
	memcpy(edge + 4096 - strlen(name), name, strlen(name));
	munmap(edge + 4096, 4096);
	say("to nowhere %ld", often(edge + 4096 - strlen(name)));
	/* As long as it may be, and longer; each has neighbours that are nearly the same. */
	int wrong = 0;
	char path[512], near[512];
	for (int n = strlen(dir) + 2; n < 120; n++) {
		snprintf(path, sizeof path, "%s/", dir);
		memset(path + strlen(path), 'x', n - strlen(path));
		path[n] = 0;
		make(path);
		wrong += often(path) != -EINVAL;
		strcpy(near, path);
		near[n - 1] = 'y';
		wrong += link_of(near, buf, 9) != -ENOENT;
		strcpy(near + n, "y");
		wrong += link_of(near, buf, 9) != -ENOENT;
		strcpy(near, path);
		strcpy(near + n, "x");
		wrong += link_of(near, buf, 9) != -ENOENT;
		unlink(path);
		wrong += link_of(path, buf, 9) != -ENOENT;
	}
	say("wrong %d", wrong);
	done();
}

/* Who looks from elsewhere, or may no longer look. */
static void elsewhere(void)
{
	int ws;
	begin();
	make(name);
	say("file %ld", often(name));
	if (fork() == 0) {
		char below[512];
		snprintf(below, sizeof below, "%s%s", dir, dir);
		for (char *p = below + strlen(dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
			*p = 0;
			mkdir(below, 0700);
		}
		if (symlink("target", below) != 0)
			say("no symlink");
		say("dir %ld", often(dir));
		chroot(dir);
		say("chroot %ld, file %ld", link_of(dir, buf, sizeof buf), link_of(name, buf, sizeof buf));
		_exit(0);
	}
	wait(&ws);
	if (fork() == 0) {
		say("file %ld", often(name));
		syscall(SYS_setuid, 1000);
		say("setuid %ld", link_of(name, buf, sizeof buf));
		_exit(0);
	}
	wait(&ws);
	if (fork() == 0) {
		say("file %ld", often(name));
		setfsuid(1000);
		say("fsuid %ld", link_of(name, buf, sizeof buf));
		_exit(0);
	}
	wait(&ws);
	char line[512];
	snprintf(line, sizeof line, "rm -rf %s", dir);
	say("rm %d", system(line));
}

struct turns {
	volatile int turn, wrong;
};

static struct turns *at;

static void wait_turn(int n)
{
	while (__atomic_load_n(&at->turn, __ATOMIC_SEQ_CST) != n)
		sched_yield(); /* of which the sandbox's kernel does not hear */
}

static void next_turn(void)
{
	__atomic_add_fetch(&at->turn, 1, __ATOMIC_SEQ_CST);
}

/* The path is a file; what becomes of it is another each round. */
static void *changes(void *arg)
{
	(void)arg;
	char moved[300];
	snprintf(moved, sizeof moved, "%s.moved", dir);
	for (int i = 0; i < ROUNDS; i++) {
		wait_turn(2 * i + 1);
		switch (i % 6) {
		case 0: at->wrong += unlink(name) != 0; break;
		case 1: at->wrong += symlink("ab", other) != 0 || rename(other, name) != 0; break;
		case 2: at->wrong += rename(name, other) != 0; break;
		case 3: at->wrong += symlink("abc", other) != 0 || syscall(SYS_renameat2, AT_FDCWD, other, AT_FDCWD, name, 2) != 0; break;
		case 4: at->wrong += rename(dir, moved) != 0; break;
		case 5: at->wrong += unlink(name) != 0 || mkdir(name, 0700) != 0; break;
		}
		next_turn();
		wait_turn(2 * i + 2);
	}
	return 0;
}

static void asks(void)
{
	const long want[] = {-ENOENT, 2, -ENOENT, 3, -ENOENT, -EINVAL};
	char moved[300];
	snprintf(moved, sizeof moved, "%s.moved", dir);
	for (int i = 0; i < ROUNDS; i++) {
		wait_turn(2 * i);
		make(name);
		at->wrong += often(name) != -EINVAL || often(dir) != -EINVAL;
		__atomic_store_n(&at->turn, 2 * i + 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&at->turn, __ATOMIC_SEQ_CST) == 2 * i + 1)
			sched_yield();
		at->wrong += link_of(name, buf, sizeof buf) != want[i % 6];
		at->wrong += link_of(dir, buf, sizeof buf) != (i % 6 == 4 ? -ENOENT : -EINVAL);
		if (i % 6 == 4)
			rename(moved, dir);
		unlink(name);
		unlink(other);
		rmdir(name);
	}
}

static void told(void)
{
	at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	begin();
	pthread_t t;
	pthread_create(&t, 0, changes, 0);
	asks();
	at->turn = 2 * ROUNDS;
	pthread_join(t, 0);
	say("a thread, wrong %d", at->wrong);
	at->turn = at->wrong = 0;
	int ws, c = fork();
	if (c == 0) {
		changes(0);
		_exit(0);
	}
	asks();
	waitpid(c, &ws, 0);
	say("a process, wrong %d", at->wrong);
	done();
}

/* The path leads to nothing; what comes there is another each round. */
static char below[300];

static void *makes(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		wait_turn(2 * i + 1);
		switch (i % 8) {
		case 0: make(name); break;
		case 1: at->wrong += mkdir(name, 0700) != 0; break;
		case 2: at->wrong += symlink("ab", name) != 0; break;
		case 3: at->wrong += link(other, name) != 0; break;
		case 4: at->wrong += rename(other, name) != 0; break;
		case 5: at->wrong += mkfifo(name, 0600) != 0; break;
		case 6: at->wrong += mkdir(name, 0700) != 0 || symlink("abc", below) != 0; break;
		case 7: at->wrong += symlink(dir, name) != 0; break;
		}
		next_turn();
		wait_turn(2 * i + 2);
	}
	return 0;
}

static void appears(void)
{
	const long want[] = {-EINVAL, -EINVAL, 2, -EINVAL, -EINVAL, -EINVAL, -EINVAL, 0};
	at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	begin();
	snprintf(below, sizeof below, "%s/other", name);
	pthread_t t;
	pthread_create(&t, 0, makes, 0);
	for (int i = 0; i < ROUNDS; i++) {
		wait_turn(2 * i);
		make(other);
		at->wrong += often(name) != -ENOENT || often(below) != -ENOENT;
		next_turn();
		wait_turn(2 * i + 2);
		at->wrong += link_of(name, buf, sizeof buf) != (i % 8 == 7 ? (long)strlen(dir) : want[i % 8]);
		long b = link_of(below, buf, sizeof buf), file = i % 8 == 0 || i % 8 == 3 || i % 8 == 4 || i % 8 == 5;
		at->wrong += b != (file ? -ENOTDIR : i % 8 == 6 ? 3 : i % 8 == 7 ? -EINVAL : -ENOENT);
		if (i % 8 == 6)
			unlink(below);
		unlink(name);
		rmdir(name);
		unlink(other);
		at->turn = 2 * i + 2;
	}
	pthread_join(t, 0);
	say("wrong %d", at->wrong);
	done();
}

/* Two threads that ask, and two processes that change what is there, as fast as they can:
 * an answer is one of those that are possible. */
static volatile int stop;

static void *asker(void *arg)
{
	long bad = 0;
	(void)arg;
	char b[64];
	while (!stop) {
		long r = link_of(name, b, sizeof b);
		bad += r != -EINVAL && r != -ENOENT && r != 4;
		bad += link_of(dir, b, sizeof b) != -EINVAL;
	}
	return (void *)bad;
}

static void racing(void)
{
	begin();
	snprintf(other, sizeof other, "%s/four", dir); /* which may be made by way of the link */
	pthread_t t[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], 0, asker, 0);
	int ws, c = fork();
	if (c == 0) {
		for (int i = 0; i < 150; i++) {
			make(name);
			sched_yield();
			unlink(name);
		}
		_exit(0);
	}
	for (int i = 0; i < 150; i++) {
		symlink("four", name);
		sched_yield();
		unlink(name);
	}
	waitpid(c, &ws, 0);
	stop = 1;
	long bad = 0;
	for (int i = 0; i < 2; i++) {
		void *b;
		pthread_join(t[i], &b);
		bad += (long)b;
	}
	say("bad %ld", bad);
	done();
}

const struct row links_rows[] = {
	{"links.paths", paths}, {"links.elsewhere", elsewhere}, {"links.told", told}, {"links.appears", appears}, {"links.racing", racing}, {0, 0},
};
