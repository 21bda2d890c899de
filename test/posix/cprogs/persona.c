#include "cprogs.h"
#include <linux/nsfs.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/uio.h>
#include <sys/utsname.h>

/* where prints the address of the stack of a program run with a personality. */
static unsigned long where(unsigned long persona)
{
	int p[2], ws;
	unsigned long start = 0;
	if (pipe(p))
		_exit(1);
	if (fork() == 0) {
		personality(persona);
		dup2(p[1], 1);
		execl("/bin/sed", "sed", "-n", "s/-.*stack.*//p", "/proc/self/maps", (char *)0);
		_exit(1);
	}
	close(p[1]);
	FILE *f = fdopen(p[0], "r");
	if (fscanf(f, "%lx", &start) != 1)
		say("no stack");
	fclose(f);
	wait(&ws);
	return start;
}

static void persona(void)
{
	struct utsname u;
	int ws;
	say("at first %#x", personality(0xffffffff));
	unsigned long a = where(ADDR_NO_RANDOMIZE), b = where(ADDR_NO_RANDOMIZE);
	say("without randomisation the same: %d", a == b);
	a = where(0), b = where(0);
	if (a == b)
		b = where(0);
	say("with it the same: %d", a == b);
	say("set %#x", personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS));
	say("kept %#x", personality(0xffffffff));
	if (fork() == 0) {
		say("in a child %#x", personality(PER_LINUX32));
		uname(&u);
		say("32 bits: %s", u.machine);
		_exit(0);
	}
	wait(&ws);
	say("of the parent still %#x", personality(0xffffffff));
	uname(&u);
	say("64 bits: %s", u.machine);
}

static void usage(void)
{
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	char *p = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(p, 64 << 20, MADV_NOHUGEPAGE);
	memset(p, 1, 64 << 20);
	munmap(p, 64 << 20);
	getrusage(RUSAGE_SELF, &after);
	say("more than 64 MiB: %d, less than 128: %d", after.ru_maxrss - before.ru_maxrss > 60 << 10, after.ru_maxrss < 128 << 10);
	say("faults: %d", after.ru_minflt - before.ru_minflt >= 64 << 8);
}

static void vdso(void)
{
	char head[4], *at = (char *)getauxval(AT_SYSINFO_EHDR);
	int fd = open("/proc/self/mem", O_RDONLY);
	ssize_t n = pread(fd, head, 4, (off_t)at);
	say("by /proc: %zd, %d", n, memcmp(head, "\177ELF", 4));
	memset(head, 0, 4);
	struct iovec to = {head, 4}, from = {at, 4};
	n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
	say("by process_vm_readv: %zd, %d", n, memcmp(head, "\177ELF", 4));
}

static void namespaces(void)
{
	const char *kinds[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}; /* a kernel may have none of time */
	for (int i = 0; i < 7; i++) {
		char path[40];
		sprintf(path, "/proc/self/ns/%s", kinds[i]);
		int fd = open(path, O_RDONLY);
		uid_t owner = 77;
		say("%s: type %#x", kinds[i], ioctl(fd, NS_GET_NSTYPE));
		err("owner", ioctl(fd, NS_GET_OWNER_UID, &owner));
		say("%u", owner);
		if (strcmp(kinds[i], "pid") != 0) /* the host's may be a container's */
			err("parent", ioctl(fd, NS_GET_PARENT));
		err("no such question", ioctl(fd, TCGETS));
		close(fd);
	}
}

const struct row persona_rows[] = {
	{"process.personality", persona},
	{"process.rusage", usage},
	{"process.vdso", vdso},
	{"process.namespaces", namespaces},
	{0, 0},
};
