# needs: gcc
d=$(mktemp -d); cd "$d" || exit
cat >hello.c <<'E'
#include <stdio.h>
#include <pthread.h>
#include <math.h>
static void *f(void *p) { *(double *)p = sqrt(2); return 0; }
int main(int argc, char **argv) {
	pthread_t t; double d;
	pthread_create(&t, 0, f, &d); pthread_join(t, 0);
	printf("hello %d %.3f\n", argc, d);
	return 42;
}
E
gcc -O2 -Wall -o hello hello.c -lm -pthread; echo "gcc $?"
./hello a b; echo $?
gcc -static -o static hello.c -lm -pthread && ./static; echo $?
gcc -g -c hello.c && ar rc libh.a hello.o && nm libh.a | grep -c ' T main'
echo 'int main() { return x; }' >bad.c; gcc bad.c 2>/dev/null; echo "bad $?"
printf 'all: hello2\nhello2: hello.c\n\t$(CC) -o $@ $< -lm -pthread\n' >Makefile
command -v make >/dev/null && { make -s -j2 && ./hello2; echo $?; }
cd / && rm -r "$d"
