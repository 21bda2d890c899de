/* What the files of micro share. */
#ifndef MICRO_H
#define MICRO_H

enum { page = 4096 };

/* An operation does itself n times, and ends the program with die if it
 * cannot. */
struct op {
	const char *name;
	void (*run)(long n);
	long atleast; /* the fewest that make sense; 0 is 1 */
};

/* Each file's operations, ended by one without a name. */
extern const struct op calls[], memory[], processes[], handoffs[];

double now(void);	       /* nanoseconds of CLOCK_MONOTONIC */
void die(const char *what);    /* says errno too */
const char *beside(const char *name); /* the path of a program beside this one */

int spawn(int argc, char **argv); /* spawn.c */
int net(int argc, char **argv);	  /* net.c */

#endif
