# needs: gdb gcc
# gdb(1) with a breakpoint in a function that calls the kernel: where it stops,
# what called it, what the variables are; and the end of a program that faults.
cd "$(mktemp -d)" || exit 1
cat >p.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int depth(int n)
{
	int parent = getppid() > 0;
	return n == 0 ? parent : depth(n - 1) + parent;
}
int main(int argc, char **argv)
{
	int sum = 0;
	for (int i = 0; i < 3; i++)
		sum += depth(i);
	printf("sum %d\n", sum);
	fflush(stdout);
	if (argc > 1)
		*(volatile int *)8 = *argv[1];
	return sum;
}
C
gcc -g -O0 -o p p.c || exit 1

# What gdb says of threads and of symbols that it has not, differs by machine.
said() {
	grep -E '^(Breakpoint [0-9],|#[0-9]|\$[0-9]|sum |\[Inferior|Program |Run till|Value )' | sed -e 's/0x[0-9a-f]*/ADDR/g' -e 's/process [0-9]*/process N/' -e 's,/[^ ]*/p\.c,p.c,'
}

echo '== breakpoint, backtrace, variables'
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'break depth if n == 0' -ex run -ex bt -ex 'print n' \
	-ex continue -ex bt -ex 'up' -ex 'print n' -ex 'delete' -ex finish -ex continue ./p </dev/null 2>&1 | said

echo '== step and change'
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'break main' -ex run -ex next -ex next -ex 'print sum' -ex 'set var sum = 100' \
	-ex step -ex bt -ex 'delete' -ex continue ./p </dev/null 2>&1 | said

echo '== watch, in software'
gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set can-use-hw-watchpoints 0' -ex 'break main' -ex run -ex next -ex 'watch sum' \
	-ex continue -ex 'print sum' -ex 'delete' -ex continue ./p </dev/null 2>&1 | said

echo '== a fault'
gdb -nx -batch -ex 'set debuginfod enabled off' -ex run -ex bt -ex 'print $_siginfo._sifields._sigfault.si_addr' -ex 'print $_exitcode' \
	--args ./p x </dev/null 2>&1 | said
