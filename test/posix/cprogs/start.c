#include "cprogs.h"
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/user.h>

/*
 * What programs ask at their start, and what others change meanwhile: the sandbox
 * answers most of it without handing over to its kernel. All calls are made by one
 * instruction each, so that none comes often.
 */

static long stack_limit(void)
{
	struct rlimit l;
	return syscall(SYS_prlimit64, 0, RLIMIT_STACK, 0, &l) ? -1 : (long)(l.rlim_cur >> 10);
}

static void *limit_in_thread(void *arg)
{
	(void)arg;
	return (void *)stack_limit();
}

/* From another process, a thread and the process itself, each seen by all at once. */
static void limits(void)
{
	struct rlimit l, was;
	getrlimit(RLIMIT_STACK, &was);
	for (long kb = 1024; kb < 1024 + 40; kb += 8) {
		l = (struct rlimit){kb << 10, was.rlim_max};
		pid_t p = fork();
		if (!p)
			_exit(syscall(SYS_prlimit64, getppid(), RLIMIT_STACK, &l, 0) ? errno : stack_limit() != kb);
		int ws;
		waitpid(p, &ws, 0);
		pthread_t t;
		void *seen;
		pthread_create(&t, 0, limit_in_thread, 0);
		pthread_join(t, &seen);
		say("%ld: child says %d, now %ld, in a thread %ld", kb, WEXITSTATUS(ws), stack_limit(), (long)seen);
	}
	for (int i = 0; i < 40; i++) {
		l.rlim_cur = (4096 + i) << 10;
		err("set", setrlimit(RLIMIT_STACK, &l));
		if (stack_limit() != 4096 + i)
			say("%d: it is %ld", i, stack_limit());
	}
	struct rlimit *nowhere = (void *)8;
	err("no such limit", syscall(SYS_prlimit64, 0, 16, 0, &l));
	err("negative", syscall(SYS_prlimit64, 0, -1, 0, &l));
	err("to nowhere", syscall(SYS_prlimit64, 0, RLIMIT_STACK, 0, nowhere));
	err("neither", syscall(SYS_prlimit64, 0, RLIMIT_STACK, 0, 0));
}

/* One process changes both of a limit's numbers for another that looks all the time. */
static void torn(void)
{
	pid_t self = getpid(), p = fork();
	if (!p) {
		for (int i = 0; i < 3000; i++) {
			unsigned long v = 800000 - i; /* downwards, which anybody may */
			struct rlimit l = {v, v};
			if (syscall(SYS_prlimit64, self, RLIMIT_MSGQUEUE, &l, 0))
				_exit(1);
		}
		_exit(0);
	}
	int ws, bad = 0;
	unsigned long last = ~0UL;
	while (waitpid(p, &ws, WNOHANG) == 0)
		for (int i = 0; i < 50; i++) {
			struct rlimit l;
			syscall(SYS_prlimit64, 0, RLIMIT_MSGQUEUE, 0, &l);
			bad += l.rlim_cur != l.rlim_max || l.rlim_cur > last;
			last = l.rlim_cur;
		}
	status("who changes it", ws);
	struct rlimit l;
	getrlimit(RLIMIT_MSGQUEUE, &l);
	say("%d wrong, at the end %ld", bad, (long)l.rlim_cur);
}

static struct {
	struct robust_list_head head;
	struct robust_list entry;
	int word, ready;
} *shared;

/* A child's list, which its parent sees, and its end with a lock held. */
static void robust(void)
{
	shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int round = 0; round < 3; round++) {
		memset(shared, 0, sizeof *shared);
		pid_t p = fork();
		if (!p) {
			shared->head.list.next = &shared->entry;
			shared->entry.next = &shared->head.list;
			shared->head.futex_offset = (char *)&shared->word - (char *)&shared->entry;
			void *head = 0;
			size_t n = 0;
			syscall(SYS_set_robust_list, &shared->head, sizeof shared->head);
			err("of another size", syscall(SYS_set_robust_list, 0, 23));
			syscall(SYS_get_robust_list, 0, &head, &n);
			say("one's own: %d, %zu", head == &shared->head, n);
			syscall(SYS_set_robust_list, &shared->head, sizeof shared->head);
			shared->word = syscall(SYS_gettid);
			if (round == 1)
				syscall(SYS_set_robust_list, 0, sizeof shared->head);
			__atomic_store_n(&shared->ready, 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) == 1)
				;
			if (round == 2)
				for (;;)
					;
			_exit(0);
		}
		while (!__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST))
			;
		void *head = 0;
		size_t n = 0;
		syscall(SYS_get_robust_list, p, &head, &n);
		say("the child's: %d, %zu", head == (round == 1 ? 0 : &shared->head), n);
		shared->ready = 2;
		if (round == 2)
			kill(p, SIGKILL);
		int ws;
		waitpid(p, &ws, 0);
		status("child", ws);
		say("its lock: %s", shared->word == p ? "held" : shared->word == FUTEX_OWNER_DIED ? "owner died" : "?");
	}
}

/* A tracer sees each call from the moment on that it has attached. */
static void attached(void)
{
	int ws;
	volatile long *calls = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t p = fork();
	if (!p)
		for (;; calls[0]++) {
			sigset_t set;
			struct rlimit l;
			syscall(SYS_getpid);
			syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &set, 8);
			syscall(SYS_prlimit64, 0, RLIMIT_STACK, 0, &l);
			syscall(SYS_set_robust_list, 0, 24);
		}
	while (calls[0] < 3)
		;
	for (int round = 0; round < 2; round++) {
		err("seize", ptrace(PTRACE_SEIZE, p, 0, PTRACE_O_TRACESYSGOOD));
		err("interrupt", ptrace(PTRACE_INTERRUPT, p, 0, 0));
		waitpid(p, &ws, 0);
		int seen[512] = {0}, enters = 0;
		for (int i = 0; i < 16; i++) {
			ptrace(PTRACE_SYSCALL, p, 0, 0);
			waitpid(p, &ws, 0);
			struct user_regs_struct r;
			ptrace(PTRACE_GETREGS, p, 0, &r);
			if (WSTOPSIG(ws) == (SIGTRAP | 0x80) && r.orig_rax < 512) {
				seen[r.orig_rax]++;
				enters += (long)r.rax == -ENOSYS;
			}
		}
		say("getpid %d, mask %d, limit %d, robust %d, entered %d", seen[SYS_getpid] >= 3, seen[SYS_rt_sigprocmask] >= 3,
			seen[SYS_prlimit64] >= 3, seen[SYS_set_robust_list] >= 3, enters >= 7);
		err("detach", ptrace(PTRACE_DETACH, p, 0, 0));
		long then = calls[0];
		while (calls[0] < then + 3)
			;
	}
	kill(p, SIGKILL);
	waitpid(p, &ws, 0);
	status("child", ws);
}

static void *deny(void *arg)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
	};
	struct sock_fprog prog = {sizeof f / sizeof *f, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	err("filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog));
	return arg;
}

/* A filter that another thread has set holds for this one's next call. */
static void filtered(void)
{
	pthread_t t;
	say("parent %d, limit %d", syscall(SYS_getppid) > 0, stack_limit() > 0);
	pthread_create(&t, 0, deny, 0);
	pthread_join(t, 0);
	err("parent", syscall(SYS_getppid));
	err("limit", stack_limit());
}

static void *become(void *arg)
{
	say("setresuid %ld", syscall(SYS_setresuid, 7, 8, 9)); /* of this thread alone */
	say("in the thread: %ld %ld", syscall(SYS_getuid), syscall(SYS_geteuid));
	return arg;
}

/* Who one is, by sites that are new each time. */
static void who(void)
{
	pthread_t t;
	say("%ld %ld", syscall(SYS_getuid), syscall(SYS_geteuid));
	pthread_create(&t, 0, become, 0);
	pthread_join(t, 0);
	say("%ld %ld", syscall(SYS_getuid), syscall(SYS_geteuid));
	pid_t self = getpid(), p = fork();
	if (!p) {
		say("child: %d %d %d", getpid() != self, getppid() == self, (pid_t)syscall(SYS_gettid) == getpid());
		pid_t q = vfork();
		if (!q) {
			say("grandchild: %d %d", getpid() != self, getppid() != self);
			_exit(0);
		}
		waitpid(q, 0, 0);
		say("child again: %d %d", getpid() != self, getppid() == self);
		_exit(0);
	}
	int ws;
	waitpid(p, &ws, 0);
	say("set_tid_address: %d", syscall(SYS_set_tid_address, (int *)&ws) == self);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int ends[2];
	if (pipe(ends))
		return;
	if (!(p = fork())) {
		if (!fork()) {
			char c;
			while (getppid() != self)
				;
			say("the orphan sees its new parent: %d", read(ends[0], &c, 0) == 0);
		}
		_exit(0);
	}
	while (wait(&ws) > 0)
		;
}

const struct row start_rows[] = {
	{"start.limits", limits},
	{"start.torn", torn},
	{"start.robust", robust},
	{"start.attached", attached},
	{"start.filtered", filtered},
	{"start.who", who},
	{0, 0},
};
