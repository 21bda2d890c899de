// Processes and threads without end, and programs one after the other.
#include "hostile.h"

// Until there are no more, then those go, and it goes on.
void forks(int n)
{
	enum { MOST = 1500 };
	int stop[2], made = 0, status;
	if (n || pipe(stop))
		_exit(1);
	for (; made < MOST; made++) {
		pid_t pid = fork();
		if (pid < 0)
			break;
		if (pid == 0) {
			char c;
			close(stop[1]);
			read(stop[0], &c, 1);
			_exit(0);
		}
	}
	close(stop[1]);
	for (int i = 0; i < made; i++)
		if (wait(&status) < 0 || status)
			_exit(2);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(7);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 7 << 8)
			_exit(3);
	}
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_there(void *unused)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return unused;
}

void threads(int n)
{
	enum { MOST = 5000 };
	static pthread_t all[MOST];
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 16384);
	int most = n ? 500 : MOST, made = 0;
	pthread_mutex_lock(&gate);
	while (made < most && !pthread_create(&all[made], &a, wait_there, 0))
		made++;
	if (n) { // and leave them, by a fault or by the end
		raise(SIGSEGV);
	}
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < made; i++)
		pthread_join(all[i], 0);
	if (pthread_create(&all[0], &a, wait_there, 0) || pthread_join(all[0], 0))
		_exit(3);
}

static void *spin(void *unused)
{
	for (;;)
		syscall(SYS_getppid);
	return unused;
}

// A program that becomes itself, also while its other threads run.
void execs(int n)
{
	char number[16];
	pthread_t t;
	if (n >= 400)
		_exit(0);
	if (n % 4 == 1)
		for (int i = 0; i < 3; i++)
			pthread_create(&t, 0, spin, 0);
	snprintf(number, sizeof number, "%d", n + 8);
	execl("/proc/self/exe", "hostileprog", "execs-on", number, "0", (char *)0);
	_exit(1);
}
