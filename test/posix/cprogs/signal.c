#include "cprogs.h"

static volatile sig_atomic_t count, last, depth, deepest;
static siginfo_t info;

static void counter(int sig)
{
	count++;
	last = sig;
}

static void informed(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	count++;
	last = sig;
	info = *si;
}

static void handle(int sig, void (*h)(int), int flags)
{
	struct sigaction sa = {.sa_handler = h, .sa_flags = flags};
	sigaction(sig, &sa, 0);
}

static void handle_info(int sig, void (*h)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = {.sa_sigaction = h, .sa_flags = flags | SA_SIGINFO};
	sigaction(sig, &sa, 0);
}

static void mask(int how, int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	sigprocmask(how, &s, 0);
}

static void delivery(void)
{
	handle(SIGUSR1, counter, 0);
	raise(SIGUSR1);
	say("count %d last %d", count, last);
	kill(getpid(), SIGUSR1);
	say("count %d", count);
	handle_info(SIGUSR2, informed, 0);
	kill(getpid(), SIGUSR2);
	say("signo %d code %d pid %d uid %d", info.si_signo, info.si_code, info.si_pid == getpid(), info.si_uid);
	syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2);
	say("tgkill code %d", info.si_code);
	union sigval v = {.sival_int = 4242};
	err("sigqueue", sigqueue(getpid(), SIGUSR2, v));
	say("code %d value %d", info.si_code, info.si_value.sival_int);
	handle(SIGUSR1, counter, SA_RESETHAND);
	raise(SIGUSR1);
	struct sigaction old;
	sigaction(SIGUSR1, 0, &old);
	say("reset to default %d", old.sa_handler == SIG_DFL);
	err("SIGKILL can't be handled", sigaction(SIGKILL, &old, 0));
	err("SIGSTOP neither", sigaction(SIGSTOP, &old, 0));
	err("but read", sigaction(SIGKILL, 0, &old));
	err("bad number", syscall(SYS_rt_sigaction, 65, 0, 0, 8));
	err("bad size", syscall(SYS_rt_sigaction, 10, 0, 0, 4));
	err("bad address", syscall(SYS_rt_sigaction, 10, 8, 0, 8));
}

static void masks(void)
{
	sigset_t s;
	handle(SIGUSR1, counter, 0);
	handle(SIGRTMIN, counter, 0);
	mask(SIG_BLOCK, SIGUSR1);
	mask(SIG_BLOCK, SIGRTMIN);
	raise(SIGUSR1);
	raise(SIGUSR1);
	say("blocked: %d", count);
	sigpending(&s);
	say("pending %d %d", sigismember(&s, SIGUSR1), sigismember(&s, SIGUSR2));
	mask(SIG_UNBLOCK, SIGUSR1);
	say("standard signals merge: %d", count);
	for (int i = 0; i < 5; i++)
		raise(SIGRTMIN);
	mask(SIG_UNBLOCK, SIGRTMIN);
	say("real-time ones queue: %d", count);
	sigfillset(&s);
	sigprocmask(SIG_SETMASK, &s, 0);
	sigprocmask(SIG_SETMASK, 0, &s);
	say("KILL and STOP stay open: %d %d", sigismember(&s, SIGKILL), sigismember(&s, SIGSTOP));
	err("bad how", syscall(SYS_rt_sigprocmask, 9, &s, 0, 8));
	err("bad size", syscall(SYS_rt_sigprocmask, 0, &s, 0, 4));
	/* The mask is kept over fork and exec. */
	pid_t p = fork();
	if (p == 0) {
		sigprocmask(SIG_SETMASK, 0, &s);
		_exit(sigismember(&s, SIGUSR1));
	}
	int ws;
	waitpid(p, &ws, 0);
	status("child has it blocked", ws);
}

static void nested(int sig)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (count++ < 3)
		raise(sig);
	depth--;
}

static void nodefer(void)
{
	handle(SIGUSR1, nested, 0);
	raise(SIGUSR1);
	say("deferred: depth %d count %d", deepest, count);
	count = deepest = 0;
	handle(SIGUSR1, nested, SA_NODEFER);
	raise(SIGUSR1);
	say("nodefer: depth %d count %d", deepest, count);
	struct sigaction sa = {.sa_handler = counter};
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigset_t s;
	sigprocmask(SIG_SETMASK, 0, &s);
	say("mask is back: %d", sigismember(&s, SIGUSR1));
}

static void order_handler(int sig)
{
	say("got %d", sig - SIGRTMIN);
}

static void ordering(void)
{
	sigset_t s;
	for (int i = 0; i < 4; i++) {
		struct sigaction sa = {.sa_handler = order_handler};
		sigfillset(&sa.sa_mask);
		sigaction(SIGRTMIN + i, &sa, 0);
		mask(SIG_BLOCK, SIGRTMIN + i);
	}
	raise(SIGRTMIN + 2);
	raise(SIGRTMIN + 0);
	raise(SIGRTMIN + 3);
	raise(SIGRTMIN + 1);
	raise(SIGRTMIN + 2);
	sigemptyset(&s);
	/* With every other one masked while a handler runs, the lowest comes first. */
	sigprocmask(SIG_SETMASK, &s, 0);
}

static char alternate[65536];
static volatile int on_alternate;

static void where(int sig)
{
	char here;
	(void)sig;
	stack_t ss;
	on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
	sigaltstack(0, &ss);
	say("on the stack %d flag %d", on_alternate, ss.ss_flags);
	err("change while on it", sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, 0));
}

static void altstack(void)
{
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
	err("query", sigaltstack(0, &old));
	say("disabled %d", old.ss_flags);
	err("set", sigaltstack(&ss, 0));
	handle(SIGUSR1, where, SA_ONSTACK);
	raise(SIGUSR1);
	char here;
	say("back %d", !(&here >= alternate && &here < alternate + sizeof alternate));
	handle(SIGUSR1, counter, 0);
	raise(SIGUSR1);
	ss.ss_size = 100;
	err("too small", sigaltstack(&ss, 0));
	ss.ss_flags = 0x40;
	err("bad flags", sigaltstack(&ss, 0));
	err("bad address", syscall(SYS_sigaltstack, 8, 0));
}

static sigjmp_buf overflow_buf;

static void overflowed(int sig)
{
	(void)sig;
	siglongjmp(overflow_buf, 1);
}

/* deep calls itself until the stack ends; n never gets there. */
static int deep(int n)
{
	volatile char page[4096];
	page[0] = n;
	if (n == INT_MAX)
		return 0;
	return deep(n + 1) + page[0];
}

static void stack_overflow(void)
{
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
	setrlimit(RLIMIT_STACK, &(struct rlimit){1 << 20, 1 << 20});
	sigaltstack(&ss, 0);
	handle(SIGSEGV, overflowed, SA_ONSTACK);
	if (sigsetjmp(overflow_buf, 1) == 0)
		deep(0);
	say("caught an overflow");
	handle(SIGSEGV, SIG_DFL, 0);
	pid_t p = fork();
	if (p == 0)
		deep(0);
	int ws;
	waitpid(p, &ws, 0);
	status("uncaught", ws);
}

/* alarm_in sends SIGALRM in a while, and again after a longer one: a busy machine may not
 * have come to the call yet that it is to interrupt. */
static void alarm_in(long ms)
{
	struct itimerval it = {{2, 0}, {ms / 1000, ms % 1000 * 1000}};
	setitimer(ITIMER_REAL, &it, 0);
}

static void restart(void)
{
	int p[2];
	char c;
	if (pipe(p) != 0)
		_exit(1);
	handle(SIGALRM, counter, 0);
	alarm_in(50);
	err("read without SA_RESTART", read(p[0], &c, 1));
	handle(SIGALRM, counter, SA_RESTART);
	alarm_in(50);
	if (fork() == 0) {
		msleep(150);
		_exit(write(p[1], "x", 1) != 1);
	}
	err("read with SA_RESTART", read(p[0], &c, 1));
	say("handler ran %d", count);
	wait(0);
	/* These are never restarted. */
	alarm_in(50);
	struct timespec ts = {20, 0}, rem;
	err("nanosleep", nanosleep(&ts, &rem));
	say("remains %d", rem.tv_sec >= 10);
	alarm_in(50);
	err("pause", pause());
	alarm_in(50);
	err("select", select(0, 0, 0, 0, &(struct timeval){20, 0}));
	alarm_in(50);
	sigset_t s;
	sigemptyset(&s);
	err("sigsuspend", sigsuspend(&s));
	/* wait is restarted. */
	pid_t child = fork();
	if (child == 0) {
		msleep(150);
		_exit(8);
	}
	alarm_in(50);
	int ws;
	err("waitpid with SA_RESTART", waitpid(child, &ws, 0));
	child = fork();
	if (child == 0) {
		msleep(150);
		_exit(8);
	}
	handle(SIGALRM, counter, 0);
	alarm_in(50);
	err("waitpid without", waitpid(child, &ws, 0));
	alarm_in(0);
	err("waitpid", waitpid(child, &ws, 0));
	/* An ignored or stopping signal does not interrupt. */
	handle(SIGALRM, SIG_IGN, 0);
	alarm_in(10);
	long start = now();
	ts = (struct timespec){0, 40000000};
	err("nanosleep under an ignored signal", nanosleep(&ts, 0));
	say("in full %d", now() - start >= 39);
}

static void sigchld(void)
{
	handle_info(SIGCHLD, informed, 0);
	mask(SIG_BLOCK, SIGCHLD);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGCHLD);
	pid_t p = fork();
	if (p == 0)
		_exit(17);
	siginfo_t si;
	say("sigwaitinfo %d", sigwaitinfo(&s, &si));
	say("code %d status %d pid %d", si.si_code, si.si_status, si.si_pid == p);
	waitpid(p, 0, 0);
	p = fork();
	if (p == 0) {
		raise(SIGKILL);
	}
	say("sigwaitinfo %d", sigwaitinfo(&s, &si));
	say("code %d status %d pid %d", si.si_code, si.si_status, si.si_pid == p);
	waitpid(p, 0, 0);
	struct timespec t = {0, 10000000};
	err("timed out", sigtimedwait(&s, &si, &t));
	handle_info(SIGCHLD, informed, SA_NOCLDWAIT);
	p = fork();
	if (p == 0)
		_exit(0);
	msleep(30);
	err("NOCLDWAIT", waitpid(p, 0, 0));
	handle_info(SIGCHLD, informed, SA_NOCLDSTOP);
	mask(SIG_UNBLOCK, SIGCHLD);
	count = 0;
	p = fork();
	if (p == 0) {
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(p, 0, WUNTRACED);
	say("NOCLDSTOP %d", count);
	kill(p, SIGCONT);
	while (waitpid(p, 0, 0) == -1 && errno == EINTR)
		;
	say("exit %d", count);
}

static void itimers(void)
{
	handle(SIGALRM, counter, SA_RESTART);
	struct itimerval it = {{0, 10000}, {0, 10000}}, old;
	setitimer(ITIMER_REAL, &it, 0);
	long start = now();
	while (count < 5)
		pause();
	say("five in time %d", now() - start >= 45);
	it = (struct itimerval){0};
	setitimer(ITIMER_REAL, &it, &old);
	say("old interval %ld", (long)old.it_interval.tv_usec);
	say("alarm left %u", alarm(100));
	say("alarm left %u", alarm(0));
	handle(SIGVTALRM, counter, 0);
	count = 0;
	it = (struct itimerval){{0, 0}, {0, 20000}};
	setitimer(ITIMER_VIRTUAL, &it, 0);
	while (count == 0)
		;
	say("virtual %d", last == SIGVTALRM);
	handle(SIGPROF, counter, 0);
	count = 0;
	setitimer(ITIMER_PROF, &it, 0);
	while (count == 0)
		;
	say("profiling %d", last == SIGPROF);
	err("bad usec", setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000000}}, 0));
	err("bad which", setitimer(9, &it, 0));
	timer_t id;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 77};
	handle_info(SIGRTMIN, informed, 0);
	err("timer_create", timer_create(CLOCK_MONOTONIC, &ev, &id));
	count = 0;
	err("timer_settime", timer_settime(id, 0, &(struct itimerspec){{0, 0}, {0, 10000000}}, 0));
	while (count == 0)
		msleep(1);
	say("code %d value %d overrun %d", info.si_code, info.si_value.sival_int, timer_getoverrun(id));
	err("timer_delete", timer_delete(id));
	err("again", timer_delete(id));
}

static sigjmp_buf fault_buf;
static volatile uintptr_t fault_address;

static void faulted(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	fault_address = (uintptr_t)si->si_addr;
	info = *si;
	siglongjmp(fault_buf, sig);
}

static void faults(void)
{
	handle_info(SIGSEGV, faulted, 0);
	handle_info(SIGBUS, faulted, 0);
	handle_info(SIGFPE, faulted, 0);
	handle_info(SIGILL, faulted, 0);
	handle_info(SIGTRAP, faulted, 0);
	int s;
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		*(volatile int *)16 = 1;
	say("null: %d code %d address %#lx", s, info.si_code, (long)fault_address);
	char *ro = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		ro[5] = 1;
	say("read-only: %d code %d address %d", s, info.si_code, fault_address == (uintptr_t)ro + 5);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		((void (*)(void))ro)();
	say("not executable: %d code %d address %d", s, info.si_code, fault_address == (uintptr_t)ro);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		*(volatile int *)0xffff800000000000 = 1;
	say("kernel address: %d code %d", s, info.si_code);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		*(volatile int *)0x0fff800000000000 = 1;
	say("not canonical: %d code %d", s, info.si_code);
	volatile int zero = 0;
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		zero = 7 / zero;
	say("division: %d code %d", s, info.si_code);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		__asm__ volatile("ud2");
	say("ud2: %d code %d", s, info.si_code);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		__asm__ volatile("int3");
	say("int3: %d code %d", s, info.si_code);
	if ((s = sigsetjmp(fault_buf, 1)) == 0)
		__asm__ volatile("hlt");
	say("hlt: %d code %d", s, info.si_code);
	/* A fault while the signal is blocked kills. */
	pid_t p = fork();
	if (p == 0) {
		mask(SIG_BLOCK, SIGSEGV);
		*(volatile int *)16 = 1;
	}
	int ws;
	waitpid(p, &ws, 0);
	status("blocked", ws);
	p = fork();
	if (p == 0) {
		signal(SIGSEGV, SIG_IGN);
		*(volatile int *)16 = 1;
	}
	waitpid(p, &ws, 0);
	status("ignored", ws);
}

static void fix_registers(int sig, siginfo_t *si, void *context)
{
	(void)sig, (void)si;
	ucontext_t *uc = context;
	uc->uc_mcontext.gregs[REG_RIP] += 2; /* over ud2 */
	uc->uc_mcontext.gregs[REG_RAX] = 1234;
	count++;
}

static void context(void)
{
	handle_info(SIGILL, fix_registers, 0);
	long rax;
	double d = 1.5;
	__asm__ volatile("ud2" : "=a"(rax) : : "memory");
	say("rax %ld count %d and floating point %g", rax, count, d * 2);
	/* Vector registers survive a handler that uses them. */
	__attribute__((aligned(16))) long in[2] = {0x1111, 0x2222}, out[2];
	__asm__ volatile("movdqa %1, %%xmm7\n mov %2, %%rdi\n mov %3, %%esi\n mov $62, %%eax\n syscall\n movdqa %%xmm7, %0"
		: "=m"(out) : "m"(in), "r"((long)getpid()), "r"(0) : "rax", "rcx", "r11", "rdi", "rsi", "xmm7", "memory");
	say("%lx %lx", out[0], out[1]);
}

static void *signal_thread(void *arg)
{
	(void)arg;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	int sig;
	pthread_sigmask(SIG_BLOCK, &s, 0);
	sigwait(&s, &sig);
	return (void *)(long)sig;
}

static void threads(void)
{
	/* A signal to the process goes to a thread that does not block it. */
	mask(SIG_BLOCK, SIGUSR1);
	pthread_t t;
	void *r;
	pthread_create(&t, 0, signal_thread, 0);
	msleep(10);
	kill(getpid(), SIGUSR1);
	pthread_join(t, &r);
	say("thread took %ld", (long)r);
	pthread_create(&t, 0, signal_thread, 0);
	msleep(10);
	pthread_kill(t, SIGUSR1);
	pthread_join(t, &r);
	say("directed %ld", (long)r);
	handle(SIGUSR2, counter, 0);
	mask(SIG_BLOCK, SIGUSR2);
	pthread_create(&t, 0, signal_thread, 0);
	pthread_kill(t, SIGUSR2); /* stays with that thread, blocked, and dies with it */
	kill(getpid(), SIGUSR1);
	pthread_join(t, &r);
	mask(SIG_UNBLOCK, SIGUSR2);
	say("count %d", count);
}

static void interrupted_compute(void)
{
	handle(SIGALRM, counter, 0);
	volatile unsigned long n = 0;
	long rounds = 0;
	for (; count < 20; rounds++) {
		int before = count;
		alarm_in(1);
		while (count == before)
			n++;
	}
	say("%ld rounds", rounds);
}

static void suspend(void)
{
	sigset_t old, s;
	handle(SIGUSR1, counter, 0);
	mask(SIG_BLOCK, SIGUSR1);
	raise(SIGUSR1);
	sigemptyset(&s);
	err("sigsuspend", sigsuspend(&s));
	say("count %d", count);
	sigprocmask(SIG_SETMASK, 0, &old);
	say("blocked again %d", sigismember(&old, SIGUSR1));
	raise(SIGUSR1);
	struct timespec t = {1, 0};
	err("pselect takes the mask", pselect(0, 0, 0, 0, &t, &s));
	say("count %d", count);
}

const struct row signal_rows[] = {
	{"signal.delivery", delivery},
	{"signal.masks", masks},
	{"signal.nodefer", nodefer},
	{"signal.order", ordering},
	{"signal.altstack", altstack},
	{"signal.overflow", stack_overflow},
	{"signal.restart", restart},
	{"signal.sigchld", sigchld},
	{"signal.itimers", itimers},
	{"signal.faults", faults},
	{"signal.context", context},
	{"signal.threads", threads},
	{"signal.compute", interrupted_compute},
	{"signal.suspend", suspend},
	{0, 0},
};
