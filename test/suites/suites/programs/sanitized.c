/* Mistakes that sanitizers find, one for each letter. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int deep(int n)
{
	volatile char b[4096];
	memset((void *)b, n, sizeof b);
	return n == -1 ? 0 : deep(n + 1) + b[7];
}

static int racy;

static void *race(void *p)
{
	for (int i = 0; i < 1000; i++)
		racy++;
	return p;
}

int main(int argc, char **argv)
{
	char *p;
	pthread_t a, b;
	int array[4], x = 0x7fffffff;
	switch (argv[1][0]) {
	case 'h': /* past the end of the heap's */
		p = malloc(10);
		p[10 + argc - 2] = 1;
		printf("%d\n", p[0]);
		free(p);
		break;
	case 'd': /* freed twice */
		p = malloc(10);
		free(p);
		free(p);
		break;
	case 's': /* the stack overflows */
		return deep(0);
	case 'n': /* a null pointer */
		*(volatile int *)0 = 1;
		break;
	case 'w': /* no address at all */
		*(volatile int *)0xdead0000beef0000 = 1;
		break;
	case 'l': /* never freed */
		p = malloc(77);
		p = 0;
		break;
	case 'r': /* two threads at once */
		pthread_create(&a, 0, race, 0);
		pthread_create(&b, 0, race, 0);
		pthread_join(a, 0);
		pthread_join(b, 0);
		break;
	case 'o': /* too large for an int */
		x += argc;
		printf("%d\n", x);
		break;
	case 'k': /* past the end of the stack's */
		array[argc + 2] = 1;
		printf("%d\n", array[0] != 0);
		break;
	case 'a':
		abort();
	}
	return 0;
}
