/*
 * Cprogs is test/posix's second program of many small programs: those that
 * need fork without exec, handlers of signals, and control of their own memory
 * that Go's run-time keeps to itself. It is linked statically with the C
 * library. Like progs it asserts nothing: it prints what the kernel answered,
 * and the output on the host and in the sandbox must be equal.
 */
#ifndef CPROGS_H
#define CPROGS_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef void (*program)(void);

struct row {
	const char *name;
	program run;
};

extern const struct row process_rows[], sigfast_rows[], signal_rows[], memory_rows[], thread_rows[],
	sigframe_rows[], sigsend_rows[], calls_rows[], sites_rows[], text_rows[], ptrace_rows[], sigmask_rows[], pifutex_rows[], rseq_rows[], clone_rows[], cputime_rows[], sysv_rows[], persona_rows[], sockopt_rows[], sockread_rows[], found_rows[], aio_rows[], mqueue_rows[], seccomp_rows[], userns_rows[], handover_rows[];

/* say prints one line at once, so that children do not print it again. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* err prints what was tried and the errno's name, or ok when r is not -1. */
void err(const char *what, long r);

/* status prints a wait status. */
void status(const char *what, int ws);

/* msleep sleeps for a number of milliseconds, whatever signals come. */
void msleep(long ms);

/* now is CLOCK_MONOTONIC in milliseconds. */
long now(void);

#endif
