# needs: gcc
# A library that is loaded, called until its sites are hot, and unloaded, again
# and again, with another in its place.
set -e
dir=$(mktemp -d)
cd "$dir"
for n in 1 2; do
	cat >lib$n.c <<EOF
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
static long call(long nr)
{
	long r;
	__asm__ volatile("syscall\n\tcmp \$-4095, %0" : "=a"(r) : "0"(nr) : "rcx", "r11", "cc", "memory");
	return r;
}
long ask(void)
{
	long r;
	if ($n == 1)
		__asm__ volatile("mov \$39, %%eax\n\tsyscall" : "=a"(r) : : "rcx", "r11", "memory");
	else
		__asm__ volatile("mov \$111, %%eax\n\tsyscall" : "=a"(r) : : "rcx", "r11", "memory");
	return r - call($n == 1 ? SYS_getpid : SYS_getpgrp);
}
EOF
	gcc -O1 -shared -fPIC -o lib$n.so lib$n.c
done
cat >main.c <<'EOF'
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
	long bad = 0;
	for (int i = 0; i < 60; i++) {
		void *lib = dlopen(i % 2 ? "./lib1.so" : "./lib2.so", RTLD_NOW);
		if (!lib) {
			puts(dlerror());
			return 1;
		}
		long (*ask)(void) = (long (*)(void))dlsym(lib, "ask");
		for (int n = 0; n < 5 + i; n++)
			bad += ask() != 0;
		if (i % 5 && dlclose(lib) != 0)
			return 2;
	}
	printf("wrong %ld\n", bad);
	return 0;
}
EOF
gcc -O1 -o main main.c -ldl
./main
cd /
rm -rf "$dir"
