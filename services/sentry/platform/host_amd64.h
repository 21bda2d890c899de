// The host's ABI as the stub's text uses it, a part of stub_amd64.s.

// struct ucontext
#define UC_SS_SP 16
#define UC_SS_FLAGS 24
#define UC_SS_SIZE 32
#define UC_REGS 40
#define UC_FPSTATE 224
#define REG_R11 (UC_REGS+3*8)
#define REG_RDI (UC_REGS+8*8)
#define REG_RSI (UC_REGS+9*8)
#define REG_RDX (UC_REGS+12*8)
#define REG_RAX (UC_REGS+13*8)
#define REG_RCX (UC_REGS+14*8)
#define REG_RSP (UC_REGS+15*8)
#define REG_RIP (UC_REGS+16*8)
#define REG_EFL (UC_REGS+17*8)
#define REG_ERR (UC_REGS+19*8)
#define REG_OLDMASK (UC_REGS+21*8)
#define REG_CR2 (UC_REGS+22*8)

// EFLAGS.ID, which is the processor's throughout the fast lane, and AC is but for an
// answer with all registers.
#define FLAG_ID 0x200000

#define SYS_read 0
#define SYS_write 1
#define SYS_close 3
#define SYS_mmap 9
#define SYS_mprotect 10
#define SYS_munmap 11
#define SYS_rt_sigaction 13
#define SYS_rt_sigprocmask 14
#define SYS_rt_sigreturn 15
#define SYS_writev 20
#define SYS_sched_yield 24
#define SYS_madvise 28
#define SYS_dup 32
#define SYS_sendto 44
#define SYS_recvfrom 45
#define SYS_clone 56
#define SYS_fcntl 72
#define SYS_readlink 89
#define SYS_sigaltstack 131
#define SYS_prctl 157
#define SYS_arch_prctl 158
#define SYS_gettid 186
#define SYS_futex 202
#define SYS_set_tid_address 218
#define SYS_exit_group 231
#define SYS_epoll_ctl 233
#define SYS_prlimit64 302
#define SYS_seccomp 317
#define SYS_rseq 334

#define SIGTRAP 5
#define SIGBUS 7
#define SIGSEGV 11
#define SIGSYS 31

#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
