// A guest that means harm. Each child does its worst, while another process of
// the same sandbox, the witness, goes on working; the parent, which is the
// sandbox's first process, waits for all of them and says at the end that it
// lives. Then it sleeps until its standard input ends, and exits with 42.
//
//	hostileprog ATTACK SEED        all children of one attack
//	hostileprog ATTACK SEED N      attack number N by the first process itself
//	hostileprog list               the attacks
//	hostileprog fill KIND          as many things of a kind as there can be; "list": the kinds
//	hostileprog gains              what users must not gain: gains.c
#include "hostile.h"

// Zero children: as many as the stub's text has bytes.
static const struct attack {
	const char *name;
	int children, parallel;
	void (*run)(int n);
} attacks[] = {
	{"calls", 40, 2, calls},
	{"slot", 30, 2, scribble},
	{"neighbours", 6, 3, neighbours},
	{"stub-garbage", 0, 24, jump_garbage},
	{"stub-plausible", 0, 24, jump_plausible},
	{"gadget-unmap", 40, 4, gadget_unmap},
	{"gadget-close", 64, 4, gadget_close},
	{"gadget-clone", 12, 2, gadget_clone},
	{"gadget-any", 60, 4, gadget_any},
	{"signals", 12, 2, signals},
	{"altstacks", 16, 4, altstacks},
	{"exhaust", 4, 2, exhaust},
	{"forks", 1, 1, forks},
	{"threads", 2, 1, threads},
	{"execs", 4, 2, execs},
	{"modes", 24, 4, modes},
	{"bases", 28, 4, bases},
	{"flags", 16, 4, flags},
	{"remap-running", 4, 1, remap_running},
	{"map-over", 24, 4, map_over},
	{"unmap-own", 8, 2, unmap_own},
	{"remap-overlap", 8, 2, remap_overlap},
	{"lease", 20, 4, lease},
	{"frames", 10, 4, frames},
	{"tracing", 8, 2, tracing},
};

// How long a child may take, in ms, before it is killed, and then to end.
enum { LATE = 800, PATIENCE = 10000, END = 20000 };

enum { MANY = 16 };

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// witness works until stop is closed, and exits with 0 if all went well.
static void witness(int stop)
{
	char buf[64];
	for (int round = 0;; round++) {
		int status, fd = open("/etc/passwd", O_RDONLY);
		if (fd < 0 || read(fd, buf, sizeof buf) != sizeof buf || close(fd))
			_exit(1);
		char *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(2);
		memset(p, round, 65536);
		if (p[12345] != (char)round || munmap(p, 65536))
			_exit(3);
		if (round % 16 == 0) {
			pid_t pid = fork();
			if (pid == 0)
				_exit(round & 63);
			// No more processes for now is no harm, but a wrong status is.
			if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != (round & 63) << 8))
				_exit(4);
		}
		if (read(stop, buf, 1) == 0)
			_exit(0);
		usleep(2000);
	}
}

static const struct attack *find(const char *name)
{
	for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++)
		if (!strcmp(attacks[i].name, name))
			return &attacks[i];
	exit(2);
}

struct child {
	pid_t pid;
	int n;
	long since;
	int killed;
};

// reap waits for any child to end, for a moment, and kills those that take too
// long. It says how many of running are left.
static int reap(struct child *running, int count, int *died, int *late)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < count; i++)
			if (running[i].pid == pid) {
				*died += status != 0;
				*late += now() - running[i].since > LATE;
				running[i] = running[--count];
				return count;
			}
	for (int i = 0; i < count; i++) {
		long age = now() - running[i].since;
		if (age > PATIENCE && !running[i].killed) {
			kill(running[i].pid, SIGKILL);
			running[i].killed = 1;
		}
		if (age > PATIENCE + END) {
			printf("child %d will not end\n", running[i].n);
			exit(5);
		}
	}
	usleep(200);
	return count;
}

static void all_children(const struct attack *a, int seed)
{
	struct child running[32];
	int count = 0, died = 0, late = 0, children = a->children ? a->children : stub_children();
	// Of very many, the seed chooses one in $STRIDE, and of many one in two.
	int stride = getenv("STRIDE") ? atoi(getenv("STRIDE")) : 1;
	if (a->children)
		stride = stride > 1 && a->children >= MANY ? 2 : 1;
	for (int n = seed % stride; n < children; n += stride) {
		while (count == a->parallel)
			count = reap(running, count, &died, &late);
		pid_t pid = fork();
		if (pid < 0) {
			printf("fork: %s\n", strerror(errno));
			exit(3);
		}
		if (pid == 0) {
			srand(seed + n);
			a->run(n);
			_exit(0);
		}
		running[count++] = (struct child){pid, n, now(), 0};
	}
	while (count)
		count = reap(running, count, &died, &late);
	printf("children %d, died %d, took long %d\n", children, died, late);
}

int main(int argc, char **argv)
{
	int stop[2], status;
	setvbuf(stdout, 0, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++)
			puts(attacks[i].name);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "gains"))
		return gains(argv[0]) ? 1 : 0;
	if (argc == 2 && (!strcmp(argv[1], "caps") || !strcmp(argv[1], "wait")))
		return gains_program(argv[1]);
	if (argc == 3 && !strcmp(argv[1], "fill"))
		return fill(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "execs-on"))
		execs(atoi(argv[2]));
	if (argc < 3)
		return 2;
	const struct attack *a = find(argv[1]);
	if (argc > 3) {
		srand(atoi(argv[2]));
		a->run(atoi(argv[3]));
		_exit(0);
	}
	if (pipe2(stop, O_NONBLOCK | O_CLOEXEC))
		return 4;
	pid_t pid = fork();
	if (pid == 0) {
		close(stop[1]);
		witness(stop[0]);
	}
	close(stop[0]);
	// Children must not hold the pipe open, or the witness never ends.
	pid_t master = fork();
	if (master == 0) {
		close(stop[1]);
		all_children(a, atoi(argv[2]));
		exit(0);
	}
	while (waitpid(master, &status, 0) < 0)
		;
	printf("attackers %#x\n", status);
	close(stop[1]);
	while (waitpid(pid, &status, 0) < 0)
		;
	printf("witness %#x\n", status);
	kill(-1, SIGKILL); // what the children left behind
	while (waitpid(-1, 0, 0) > 0 || errno == EINTR)
		;
	puts("alive");
	while (read(0, stop, 1) > 0)
		;
	return 42;
}
