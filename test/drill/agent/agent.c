// Makes the system calls that it is told to on its standard input. A request is
// an id, flags, a call's number and its six arguments, of which each is a number or
// a place in one of the buffers that come along; places are also put into buffers,
// where structures point to each other. The answer is the id, what the call
// returned, errno and the buffers as they are then.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFERS = 160, BLOCKS = 1, COMMAND = -1 };

struct place { int32_t buffer, offset; };
struct pointer { struct place at, to; };
struct argument { struct place place; int64_t value; }; // place.buffer is -1 for a number

struct head {
	uint32_t id, flags, buffers, pointers;
	int64_t number;
	struct argument arguments[6];
};

struct request {
	struct head head;
	uint32_t length[BUFFERS];
	char *bytes[BUFFERS];
};

static int in = 100, out = 101;
static pthread_mutex_t answering = PTHREAD_MUTEX_INITIALIZER;

static void all(int write_it, void *at, size_t n)
{
	for (char *p = at; n > 0;) {
		ssize_t done = write_it ? write(out, p, n) : read(in, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			_exit(0);
		p += done, n -= done;
	}
}

static char *at(struct request *r, struct place p)
{
	if (p.buffer < 0 || (uint32_t)p.buffer >= r->head.buffers || (uint32_t)p.offset > r->length[p.buffer])
		_exit(3);
	return r->bytes[p.buffer] + p.offset;
}

static void *serve(void *arg)
{
	struct request *r = arg;
	struct { uint32_t id, error; int64_t result; } answer = { .id = r->head.id };
	int64_t a[6];
	for (int i = 0; i < 6; i++)
		a[i] = r->head.arguments[i].place.buffer < 0 ? r->head.arguments[i].value
			: (int64_t)at(r, r->head.arguments[i].place);
	errno = 0;
	if (r->head.number == COMMAND) {
		int status = system((char *)a[0]);
		answer.result = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	} else {
		answer.result = syscall(r->head.number, a[0], a[1], a[2], a[3], a[4], a[5]);
		answer.error = answer.result == -1 ? errno : 0;
	}
	pthread_mutex_lock(&answering);
	all(1, &answer, sizeof answer);
	for (uint32_t i = 0; i < r->head.buffers; i++) {
		all(1, r->bytes[i], r->length[i]);
		free(r->bytes[i]);
	}
	pthread_mutex_unlock(&answering);
	free(r);
	return NULL;
}

int main(void)
{
	char pid[16];
	snprintf(pid, sizeof pid, "%d", getpid());
	setenv("PACKETDRILL_PID", pid, 1); // packetdrill's commands know it by this
	signal(SIGPIPE, SIG_IGN);
	// The script's descriptors start at 3, and its commands print where they may.
	if (dup3(0, in, O_CLOEXEC) < 0 || dup3(1, out, O_CLOEXEC) < 0 || dup2(2, 1) < 0)
		return 2;
	close(0);
	open("/dev/null", O_RDONLY);
	for (int i = 3; i < 100; i++)
		close(i);
	for (;;) {
		struct request *r = calloc(1, sizeof *r);
		all(0, &r->head, sizeof r->head);
		if (r->head.buffers > BUFFERS)
			return 3;
		for (uint32_t i = 0; i < r->head.buffers; i++) {
			all(0, &r->length[i], sizeof r->length[i]);
			r->bytes[i] = calloc(1, r->length[i] + 1);
			all(0, r->bytes[i], r->length[i]);
		}
		for (uint32_t i = 0; i < r->head.pointers; i++) {
			struct pointer p;
			all(0, &p, sizeof p);
			char *to = at(r, p.to);
			memcpy(at(r, p.at), &to, sizeof to);
		}
		pthread_t thread;
		if (!(r->head.flags & BLOCKS))
			serve(r);
		else if (pthread_create(&thread, NULL, serve, r) != 0)
			return 4;
		else
			pthread_detach(thread);
	}
}
