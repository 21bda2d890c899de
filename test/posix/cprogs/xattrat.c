/* Extended attributes by the calls of Linux 6.13. */
#include "cprogs.h"

#include <sys/xattr.h>

enum { SETXATTRAT_ = 463, GETXATTRAT_, LISTXATTRAT_, REMOVEXATTRAT_ };

/* struct xattr_args of linux/xattr.h */
struct args_ {
	uint64_t value;
	uint32_t size, flags;
};

static void got(const char *what, long r)
{
	if (r < 0)
		err(what, r);
	else
		say("%s: %ld", what, r);
}

static void attributes(void)
{
	char dir[PATH_MAX], value[100] = "hello", out[100] = "";
	snprintf(dir, sizeof dir, "%s/xattratXXXXXX", getenv("SCRATCH"));
	if (!mkdtemp(dir) || chdir(dir))
		return;
	int f = open("f", O_CREAT | O_RDWR, 0600), here = open(".", O_RDONLY);
	if (symlink("f", "l"))
		return;
	struct args_ a = {(uintptr_t)value, 5, 0};
	got("set", syscall(SETXATTRAT_, here, "f", 0, "user.a", &a, sizeof a));
	got("short", syscall(SETXATTRAT_, here, "f", 0, "user.a", &a, 8));
	a.flags = XATTR_CREATE;
	got("create", syscall(SETXATTRAT_, here, "f", 0, "user.a", &a, sizeof a));
	a.flags = 8;
	got("flags", syscall(SETXATTRAT_, here, "f", 0, "user.a", &a, sizeof a));
	a.flags = 0;
	got("empty path", syscall(SETXATTRAT_, f, "", AT_EMPTY_PATH, "user.b", &a, sizeof a));
	got("no path", syscall(SETXATTRAT_, f, 0, AT_EMPTY_PATH, "user.b", &a, sizeof a));
	got("empty path without", syscall(SETXATTRAT_, f, "", 0, "user.b", &a, sizeof a));
	got("symlink", syscall(SETXATTRAT_, here, "l", AT_SYMLINK_NOFOLLOW, "user.a", &a, sizeof a));
	got("at flags", syscall(SETXATTRAT_, here, "f", 1, "user.a", &a, sizeof a));
	got("no directory", syscall(SETXATTRAT_, 99, "f", 0, "user.a", &a, sizeof a));
	got("no struct", syscall(SETXATTRAT_, here, "f", 0, "user.a", 0, sizeof a));
	struct {
		struct args_ a;
		char more[16];
	} big = {a, {0}};
	got("larger", syscall(SETXATTRAT_, here, "f", 0, "user.c", &big, sizeof big));
	big.more[3] = 1;
	got("larger, not zero", syscall(SETXATTRAT_, here, "f", 0, "user.c", &big, sizeof big));
	got("too large", syscall(SETXATTRAT_, here, "f", 0, "user.c", &big, 5000));

	struct args_ g = {(uintptr_t)out, sizeof out, 0};
	got("get", syscall(GETXATTRAT_, here, "l", 0, "user.a", &g, sizeof g));
	say("%s", out);
	g.flags = 1;
	got("flags", syscall(GETXATTRAT_, here, "l", 0, "user.a", &g, sizeof g));
	g.flags = 0, g.size = 2;
	got("no room", syscall(GETXATTRAT_, here, "l", 0, "user.a", &g, sizeof g));
	g.size = 0;
	got("how long", syscall(GETXATTRAT_, here, "l", 0, "user.a", &g, sizeof g));
	got("symlink", syscall(GETXATTRAT_, here, "l", AT_SYMLINK_NOFOLLOW, "user.a", &g, sizeof g));
	got("empty path", syscall(GETXATTRAT_, f, "", AT_EMPTY_PATH, "user.b", &g, sizeof g));

	got("list", syscall(LISTXATTRAT_, here, "f", 0, out, sizeof out));
	got("how long", syscall(LISTXATTRAT_, here, "f", 0, 0, 0));
	got("no room", syscall(LISTXATTRAT_, f, "", AT_EMPTY_PATH, out, 3));
	got("at flags", syscall(LISTXATTRAT_, here, "f", 8, out, sizeof out));
	got("remove", syscall(REMOVEXATTRAT_, here, "f", 0, "user.a"));
	got("again", syscall(REMOVEXATTRAT_, here, "f", 0, "user.a"));
	got("empty path", syscall(REMOVEXATTRAT_, f, "", AT_EMPTY_PATH, "user.b"));
	got("at flags", syscall(REMOVEXATTRAT_, f, "", 4, "user.c"));
	unlink("f");
	unlink("l");
	if (chdir("/") == 0)
		rmdir(dir);
}

const struct row xattrat_rows[] = {
	{"names.xattrat", attributes},
	{0, 0},
};
