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

/* TABLES are the files of programs, each a list named NAME_rows. */
#define TABLES(T) \
	T(process) \
	T(sigfast) \
	T(signal) \
	T(memory) \
	T(thread) \
	T(sigframe) \
	T(sigfault) \
	T(sigsend) \
	T(owner) \
	T(calls) \
	T(links) \
	T(naps) \
	T(trial) \
	T(sites) \
	T(text) \
	T(ptrace) \
	T(sigmask) \
	T(pifutex) \
	T(rseq) \
	T(clone) \
	T(cputime) \
	T(sysv) \
	T(persona) \
	T(sockopt) \
	T(sockread) \
	T(found) \
	T(aio) \
	T(mqueue) \
	T(seccomp) \
	T(unotify) \
	T(userns) \
	T(pidns) \
	T(prctl) \
	T(lease) \
	T(start) \
	T(handover) \
	T(boundary) \
	T(urgent) \
	T(notice) \
	T(newer) \
	T(advice) \
	T(ahead) \
	T(debug) \
	T(pidfd) \
	T(pocket) \
	T(xattrat) \
	T(vfork) \
	T(cgroup)

#define DECLARE(name) extern const struct row name##_rows[];
TABLES(DECLARE)

/* say prints one line at once, so that children do not print it again. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* err prints what was tried and the errno's name, or ok when r is not -1. */
void err(const char *what, long r);

/* status prints a wait status. */
void status(const char *what, int ws);

/* msleep sleeps for a number of milliseconds, whatever signals come. */
void msleep(long ms);

/* newer_known says whether the kernel has what a program of newer.c is about. */
int newer_known(const char *name);

/* until_asleep waits until a thread of this process, or a process, sleeps: in the call
 * that it is to be met in, where it makes no other that sleeps. */
void until_asleep(int tid);

/* now is CLOCK_MONOTONIC in milliseconds. */
long now(void);

#endif
