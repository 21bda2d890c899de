#include "cprogs.h"
#include <sys/rseq.h>

/* The C library registers each thread's area. */

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static void state(const char *what)
{
	struct rseq *rs = area();
	say("%s: size %u, core %d, start %d, section %d", what, __rseq_size, (int)rs->cpu_id >= 0 && (int)rs->cpu_id < 4096, rs->cpu_id_start < 4096, rs->rseq_cs != 0);
}

static void *in_thread(void *arg)
{
	state(arg);
	return 0;
}

static volatile int sequences;

/* A sequence that never ends by itself. */
static void sequence(void)
{
	struct rseq *rs = area();
	int aborted = 0;
	__asm__ __volatile__(
		".pushsection .data\n.balign 32\n"
		"30: .long 0, 0\n.quad 10f, 20f-10f, 40f\n.popsection\n"
		"leaq 30b(%%rip), %%rax\n"
		"movq %%rax, %[cs]\n"
		"10: pause\njmp 10b\n"
		"20:\n"
		".byte 0x0f, 0xb9, 0x3d\n.long 0x53053053\n"
		"40: movl $1, %[aborted]\n"
		: [aborted] "+r"(aborted), [cs] "=m"(rs->rseq_cs)
		:
		: "rax", "memory");
	sequences += aborted;
}

static volatile sig_atomic_t rang;
static void ring(int sig) { rang = sig; }

static void sequences_(void)
{
	struct sigaction sa = {.sa_handler = ring};
	sigaction(SIGALRM, &sa, 0);
	for (int i = 0; i < 5; i++) {
		rang = 0;
		setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 5000}}, 0);
		sequence();
		while (!rang)
			;
		for (int j = 0; j < 100; j++)
			getppid();
	}
	say("aborted %d", sequences);
	state("after them");
}

static void registration(void)
{
	struct rseq *rs = area(), other __attribute__((aligned(32))) = {0};
	state("main");
	pthread_t t;
	pthread_create(&t, 0, in_thread, "thread");
	pthread_join(t, 0);
	int ws;
	if (fork() == 0) {
		state("child");
		sched_yield();
		/* The registration must not outlive the program. */
		execl("/bin/true", "true", (char *)0);
		_exit(9);
	}
	wait(&ws);
	status("exec", ws);
	if (vfork() == 0) {
		execl("/bin/true", "true", (char *)0);
		_exit(9);
	}
	wait(&ws);
	status("vfork", ws);
	err("again", syscall(SYS_rseq, rs, 32, 0, RSEQ_SIG));
	err("another", syscall(SYS_rseq, &other, 32, 0, RSEQ_SIG));
	err("another signature", syscall(SYS_rseq, rs, 32, 0, 1));
	err("bad flags", syscall(SYS_rseq, rs, 32, 8, RSEQ_SIG));
	err("unregister another", syscall(SYS_rseq, &other, 32, 1, RSEQ_SIG));
	err("unregister", syscall(SYS_rseq, rs, 32, 1, RSEQ_SIG));
	err("unregister again", syscall(SYS_rseq, rs, 32, 1, RSEQ_SIG));
	err("too small", syscall(SYS_rseq, &other, 16, 0, RSEQ_SIG));
	err("unaligned", syscall(SYS_rseq, (char *)&other + 8, 32, 0, RSEQ_SIG));
	err("bad address", syscall(SYS_rseq, 4096, 32, 0, RSEQ_SIG));
	err("kernel's", syscall(SYS_rseq, 0xffffffff80000000, 32, 0, RSEQ_SIG));
	err("register", syscall(SYS_rseq, &other, 32, 0, RSEQ_SIG));
	sched_yield();
	say("core %d", other.cpu_id < 4096);
	if (fork() == 0)
		_exit(other.cpu_id >= 4096);
	wait(&ws);
	status("child", ws);
}

const struct row rseq_rows[] = {
	{"rseq.register", registration},
	{"rseq.sequence", sequences_},
	{0, 0},
};
