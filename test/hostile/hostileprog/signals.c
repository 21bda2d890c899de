// Signals at oneself, on stacks that are none, and stacks that run out.
#include "hostile.h"

static volatile int count;

static void again(int sig)
{
	if (++count < 3000)
		raise(sig);
}

static void fault(int sig)
{
	(void)sig;
	*(volatile int *)8 = 1; // in the handler of the same
}

static void set(int sig, void (*f)(int), int how)
{
	struct sigaction sa = {.sa_handler = f, .sa_flags = how};
	sigaction(sig, &sa, 0);
}

static void nothing(int sig) { (void)sig, count++; }

static void *kill_all(void *unused)
{
	for (;;)
		syscall(SYS_kill, getpid(), SIGUSR1);
	return unused;
}

void signals(int n)
{
	pthread_t t;
	sigset_t all;
	struct itimerval every = {{0, 100}, {0, 100}};
	switch (n % 12) {
	case 0: set(SIGUSR1, again, SA_NODEFER); raise(SIGUSR1); break;
	case 1: set(SIGUSR1, again, 0); raise(SIGUSR1); break;
	case 2: set(SIGSEGV, fault, SA_NODEFER); *(volatile int *)8 = 1; break;
	case 3: set(SIGSEGV, fault, 0); *(volatile int *)8 = 1; break;
	case 4: // timers, faster than they can be served
		set(SIGALRM, nothing, SA_NODEFER);
		setitimer(ITIMER_REAL, &every, 0);
		for (int i = 0; i < 20000; i++)
			syscall(SYS_getppid);
		break;
	case 5: // from threads, while they are being made
		set(SIGUSR1, nothing, SA_NODEFER);
		for (int i = 0; i < 4; i++)
			pthread_create(&t, 0, kill_all, 0);
		for (int i = 0; i < 3000; i++)
			free(malloc(200000));
		break;
	case 6: // every signal there is
		for (int s = 1; s < 65; s++)
			set(s, nothing, SA_NODEFER | SA_RESTART);
		for (int i = 0; i < 3000; i++)
			syscall(SYS_tgkill, getpid(), gettid(), 1 + rand() % 64);
		break;
	case 7: // what the stub itself lives on
		for (int i = 0; i < 200; i++) {
			set(SIGSYS, SIG_IGN, 0), set(SIGURG, SIG_IGN, 0);
			raise(SIGSYS), raise(SIGURG);
		}
		set(SIGSYS, SIG_DFL, 0);
		raise(SIGSYS);
		break;
	case 8: // everything blocked, then a fault
		sigfillset(&all);
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
		*(volatile int *)8 = 1;
		break;
	case 9: // a return from no signal
		for (int i = 0; i < 100; i++)
			if (fork() == 0) {
				char frame[1024];
				for (unsigned k = 0; k < sizeof frame; k++)
					frame[k] = rand();
				__asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall" ::"r"(frame + 128));
			}
		while (wait(0) > 0)
			;
		break;
	case 10: raise(SIGSTOP); break; // nobody wakes it but the parent's kill
	default: // queued ones, without end
		set(SIGRTMIN, nothing, 0);
		sigemptyset(&all), sigaddset(&all, SIGRTMIN);
		sigprocmask(SIG_BLOCK, &all, 0);
		for (int i = 0; i < 100000; i++)
			if (sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}) && errno == EAGAIN)
				break;
		sigprocmask(SIG_UNBLOCK, &all, 0);
	}
}

void altstacks(int n)
{
	static char small[8192];
	stack_t s = {.ss_size = 2048};
	switch (n % 8) {
	case 0: s.ss_sp = small; break;
	case 1: s.ss_sp = (void *)8, s.ss_size = 65536; break;
	case 2: s.ss_sp = (void *)AREAS, s.ss_size = SLOT_SIZE; break; // the stub's own
	case 3: s.ss_sp = (void *)SLOTS, s.ss_size = SLOT_SIZE; break;
	case 4: s.ss_sp = (void *)STUB, s.ss_size = 4096; break;
	case 5: s.ss_sp = (void *)-65536L, s.ss_size = 65536; break;
	case 6: s.ss_sp = mmap(0, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), s.ss_size = 65536; break;
	default: s.ss_sp = small + 3, s.ss_size = 2051; break;
	}
	alarm(2);
	sigaltstack(&s, 0);
	set(SIGSEGV, n < 8 ? nothing : fault, SA_ONSTACK | SA_NODEFER);
	set(SIGUSR1, again, SA_ONSTACK | SA_NODEFER);
	raise(SIGUSR1);
	*(volatile int *)8 = 1;
}

__attribute__((noinline)) static int deeper(int n)
{
	volatile char frame[4096];
	frame[0] = n;
	return n < 0 ? 0 : deeper(n + 1) + frame[0];
}

void exhaust(int n)
{
	static char stack[65536];
	stack_t s = {.ss_sp = stack, .ss_size = sizeof stack};
	alarm(5);
	if (n % 2) {
		sigaltstack(&s, 0);
		set(SIGSEGV, fault, SA_ONSTACK | SA_NODEFER);
	}
	if (n / 2) { // by the stack pointer alone, then a call
		__asm__ volatile("mov $8, %%rsp; mov $39, %%eax; syscall; push %%rax" ::: "rax");
	}
	deeper(0);
}
