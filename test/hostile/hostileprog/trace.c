// Other processes: tracing, reading and writing them.
#include "hostile.h"

void tracing(int n)
{
	char buf[64] = "x";
	struct iovec local = {buf, sizeof buf}, remote = {(void *)SLOTS, sizeof buf};
	alarm(2);
	// Root may trace and stop anybody. Nobody may not.
	if ((n % 8 == 2 || n % 8 == 7) && setresuid(65534, 65534, 65534) != 0)
		exit(1);
	switch (n % 8) {
	case 0: ptrace(PTRACE_TRACEME, 0, 0, 0); raise(SIGTRAP); break;
	case 1: ptrace(PTRACE_ATTACH, getpid(), 0, 0); ptrace(PTRACE_SEIZE, gettid(), 0, 0); break;
	case 2: ptrace(PTRACE_ATTACH, getppid(), 0, 0); ptrace(PTRACE_DETACH, getppid(), 0, 0); break;
	case 3:
		for (int pid = 0; pid < 40; pid++)
			process_vm_readv(pid, &local, 1, &remote, 1, 0), process_vm_writev(pid, &local, 1, &remote, 1, 0);
		break;
	case 4: { // the stub by way of /proc
		int fd = open("/proc/self/mem", O_RDWR);
		for (unsigned long at = STUB_BASE; at < STUB_BASE + 0x30000000; at += 0x10000)
			pwrite(fd, buf, sizeof buf, at);
		for (unsigned long at = 0x7ffc00000000UL; at < 0x7fff00000000UL; at += 0x1000000)
			pread(fd, buf, sizeof buf, at), pwrite(fd, buf, 1, at);
		break;
	}
	case 5: // calls with the stub's own memory for arguments
		for (unsigned long at = STUB - 0x400000; at < SLOTS + 0x400000; at += 0x201)
			syscall(SYS_read, 0, at, 0), syscall(SYS_stat, at, at), syscall(SYS_getrandom, at, 16, 0), syscall(SYS_write, 1, at, 0),
				syscall(SYS_rt_sigprocmask, 0, at, at, 8), syscall(SYS_futex, at, 1, 1, 0, 0, 0);
		break;
	case 6: // the first process
		for (int s = 1; s < 65; s++)
			if (s != SIGTERM && s != SIGINT && s != SIGKILL)
				syscall(SYS_kill, 1, s);
		break;
	default:
		for (int i = 0; i < 200; i++)
			syscall(SYS_ptrace, 1 + rand() % 0x421f, rand() % 20, rand(), rand());
	}
}
