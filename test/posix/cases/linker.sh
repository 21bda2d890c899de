# needs: gcc
# What the dynamic linker does with files, as others see it: libraries that come and go,
# whose descriptors somebody looks at while they are loaded, and that are replaced.
set -e
dir=$(mktemp -d)
cd "$dir"
cat >lib.c <<'EOF'
#include <fcntl.h>
#include <unistd.h>
extern volatile int *flag;
int number = NUMBER;
__attribute__((constructor)) static void loaded(void)
{
	if (!flag)
		return;
	*flag = 1; /* not a call from here on, until the other has looked */
	while (*flag == 1)
		;
}
int answer(void) { int fd = open("/dev/null", O_RDONLY); close(fd); return number * 100 + fd; }
EOF
for n in 1 2; do
	gcc -O1 -shared -fPIC -DNUMBER=$n -o lib$n.so lib.c
done
cat >main.c <<'EOF'
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
volatile int *flag;
static void look(int pid)
{
	char name[300], to[300];
	snprintf(name, sizeof name, "/proc/%d/fd", pid);
	DIR *d = opendir(name);
	int libraries = 0;
	for (struct dirent *e; (e = readdir(d));) {
		snprintf(name, sizeof name, "/proc/%d/fd/%s", pid, e->d_name);
		ssize_t n = readlink(name, to, sizeof to - 1);
		if (n < 0)
			continue;
		to[n] = 0;
		libraries += strstr(to, ".so") != 0;
	}
	closedir(d);
	printf("%d open libraries\n", libraries);
}
int main(int argc, char **argv)
{
	(void)argc;
	setvbuf(stdout, 0, _IONBF, 0);
	for (int i = 3; i < 20; i++)
		close(i);
	for (int round = 0; round < 4; round++) {
		flag = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		int pid = fork();
		if (!pid) {
			void *lib = dlopen(argv[1 + round % 2], RTLD_NOW);
			if (!lib) {
				puts(dlerror());
				_exit(1);
			}
			printf("answer %d\n", ((int (*)(void))dlsym(lib, "answer"))());
			/* Another file by the same name, of which the linker must see the new begin. */
			char old[] = "./lib1.so", other[] = "./lib2.so";
			if (rename(old, "./tmp.so") || rename(other, old) || rename("./tmp.so", other))
				_exit(2);
			flag = 0;
			if (round % 2 == 0) {
				lib = dlopen(realpath(old, 0), RTLD_NOW);
				printf("then %d\n", ((int (*)(void))dlsym(lib, "answer"))());
			}
			void *short_ = dlopen("./short.so", RTLD_NOW);
			printf("a short one: %d\n", short_ != 0);
			_exit(0);
		}
		while (!*flag)
			;
		look(pid);
		*flag = 2;
		int ws;
		waitpid(pid, &ws, 0);
		printf("status %d\n", ws);
	}
	return 0;
}
EOF
head -c 40 lib1.so >short.so
gcc -O1 -rdynamic -o main main.c -ldl
./main ./lib1.so ./lib2.so
cd /
rm -rf "$dir"
