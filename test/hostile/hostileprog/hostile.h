// What the files of this program share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

// The layout of services/sentry/platform/layout.go.
#define STUB_BASE 0x7ffe00000000UL
#define STUB 0x7ffe100f0000UL
#define STUB_TEXT 0x4000
#define TABLE (STUB + 0x8000)
#define AREAS (STUB - SLOT_SIZE) // the first thread's
#define SLOTS (STUB + 0x10000)
#define SLOT_SIZE 65536

// Attacks by file. Each does its worst as one of several children, number n.
void calls(int n), scribble(int n), neighbours(int n);                              // scribble.c
int stub_children(void);                                                            // jump.c
void jump_garbage(int n), jump_plausible(int n), gadget_unmap(int n), gadget_close(int n), gadget_clone(int n), gadget_any(int n);
void signals(int n), altstacks(int n), exhaust(int n);                              // signals.c
void forks(int n), threads(int n), execs(int n);                                    // many.c
void modes(int n), bases(int n), flags(int n);                                      // modes.c
void remap_running(int n), map_over(int n), unmap_own(int n), remap_overlap(int n); // memory.c
void lease(int n);                                                                  // lease.c
void frames(int n);                                                                 // frames.c
void tracing(int n);                                                                // trace.c

int fill(const char *kind);                              // fill.c
int gains(const char *self), gains_program(const char *what); // gains.c

long gadget(long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e, unsigned long f);
unsigned long random_value(void);
unsigned long plausible(char *page);
