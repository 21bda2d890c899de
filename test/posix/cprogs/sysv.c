#include "cprogs.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static void attached(const char *what, int id)
{
	struct shmid_ds ds;
	if (shmctl(id, IPC_STAT, &ds) == -1)
		err(what, -1);
	else
		say("%s: attached %lu, size %zu, mode %#o", what, (unsigned long)ds.shm_nattch, ds.shm_segsz, ds.shm_perm.mode);
}

static void shm(void)
{
	int id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0640), ws;
	attached("new", id);
	int *a = shmat(id, 0, 0), *b = shmat(id, 0, SHM_RDONLY);
	a[1200] = 42;
	say("shared %d", b[1200]);
	attached("twice", id);
	err("write to a read-only one", mprotect(b, 4096, PROT_READ | PROT_WRITE));
	pid_t p = fork();
	if (p == 0) {
		attached("in a child", id);
		a[0] = 7;
		_exit(b[0]);
	}
	waitpid(p, &ws, 0);
	status("child", ws);
	say("from the child %d", a[0]);
	attached("after it", id);
	err("detach", shmdt(b));
	err("detach again", shmdt(b));
	err("detach unaligned", shmdt((char *)a + 1));
	err("at a place in use", shmat(id, a, 0) == (void *)-1 ? -1 : 0);
	err("unaligned", shmat(id, (char *)0x10000001, 0) == (void *)-1 ? -1 : 0);
	say("rounded %d", shmat(id, (char *)0x10000001, SHM_RND) == (void *)0x10000000);
	err("remapped", shmat(id, (char *)0x10000000, SHM_REMAP) == (void *)-1 ? -1 : 0);
	attached("there", id);
	/* A hole in the middle of it. */
	munmap(a, 4096);
	attached("half of one", id);
	err("remove", shmctl(id, IPC_RMID, 0));
	attached("removed", id);
	err("still written", 0);
	a[1100] = 3;
	err("detach the rest", shmdt(a));
	err("detach the last", shmdt((char *)0x10000000));
	attached("gone", id);
	err("attach", shmat(id, 0, 0) == (void *)-1 ? -1 : 0);
}

static void shmkeys(void)
{
	key_t key = 0x42550000 | (getpid() & 0xffff);
	err("no such key", shmget(key, 100, 0));
	int id = shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), ws;
	err("made", id);
	err("there already", shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600));
	say("found %d", shmget(key, 50, 0) == id);
	err("larger", shmget(key, 200, 0));
	err("no size", shmget(IPC_PRIVATE, 0, 0600));
	err("too large", shmget(IPC_PRIVATE, -1UL, 0600));
	err("no such id", shmctl(-1, IPC_STAT, 0));
	err("no such call", shmctl(id, 77, 0));
	pid_t p = fork();
	if (p == 0) {
		if (setgid(1000) || setuid(1000))
			_exit(9);
		err("another's", shmget(key, 50, 0600));
		err("another's, asking for nothing", shmget(key, 50, 0));
		err("attach another's", shmat(id, 0, 0) == (void *)-1 ? -1 : 0);
		attached("stat another's", id);
		err("remove another's", shmctl(id, IPC_RMID, 0));
		_exit(0);
	}
	waitpid(p, &ws, 0);
	struct shmid_ds ds;
	shmctl(id, IPC_STAT, &ds);
	say("creator %d, key %d, last %d", ds.shm_cpid == getpid(), ds.shm_perm.__key == key, ds.shm_lpid);
	ds.shm_perm.mode = 0444;
	err("set", shmctl(id, IPC_SET, &ds));
	attached("set", id);
	/* A process that is attached while it ends. */
	p = fork();
	if (p == 0) {
		shmat(id, 0, 0);
		shmctl(id, IPC_RMID, 0);
		attached("removed by a child", id);
		_exit(0);
	}
	waitpid(p, &ws, 0);
	attached("with its last user", id);
	err("key is free", shmget(key, 100, 0));
}

static void values(const char *what, int id, int n)
{
	unsigned short v[8];
	if (semctl(id, 0, GETALL, (union semun){.array = v}) == -1) {
		err(what, -1);
		return;
	}
	char line[100] = "";
	for (int i = 0; i < n; i++)
		sprintf(line + strlen(line), " %d", v[i]);
	say("%s:%s", what, line);
}

static void sem(void)
{
	int id = semget(IPC_PRIVATE, 3, 0600), ws;
	values("new", id, 3);
	err("set", semctl(id, 0, SETALL, (union semun){.array = (unsigned short[]){1, 2, 3}}));
	err("one", semctl(id, 1, SETVAL, (union semun){.val = 5}));
	values("set", id, 3);
	err("out of range", semctl(id, 1, SETVAL, (union semun){.val = 40000}));
	err("no such semaphore", semctl(id, 3, GETVAL));
	err("all or none", semop(id, (struct sembuf[]){{0, -1, 0}, {1, -9, IPC_NOWAIT}}, 2));
	values("none", id, 3);
	err("both", semop(id, (struct sembuf[]){{0, -1, 0}, {0, 0, 0}, {1, -5, 0}}, 3));
	values("both", id, 3);
	err("too far", semop(id, &(struct sembuf){2, 32767, 0}, 1));
	err("no such semaphore", semop(id, &(struct sembuf){3, 1, 0}, 1));
	err("no operations", semop(id, 0, 0));
	err("too many", semop(id, 0, 501));
	err("timeout", semtimedop(id, &(struct sembuf){0, -1, 0}, 1, &(struct timespec){0, 10000000}));
	pid_t p = fork();
	if (p == 0) {
		semop(id, &(struct sembuf){2, 1, SEM_UNDO}, 1);
		semop(id, &(struct sembuf){0, 1, 0}, 1);
		_exit(semop(id, &(struct sembuf){1, -4, 0}, 1) != 0);
	}
	err("woken", semop(id, &(struct sembuf){0, -1, 0}, 1));
	while (semctl(id, 1, GETNCNT) == 0)
		msleep(1);
	say("waiting %d, for zero %d", semctl(id, 1, GETNCNT), semctl(id, 1, GETZCNT));
	values("undone later", id, 3);
	semop(id, &(struct sembuf){1, 4, 0}, 1);
	waitpid(p, &ws, 0);
	status("child", ws);
	values("undone", id, 3);
	say("by the child %d", semctl(id, 2, GETPID) == p);
	p = fork();
	if (p == 0) {
		semop(id, &(struct sembuf){2, 0, 0}, 1);
		say("removed: %s", strerrorname_np(errno));
		_exit(0);
	}
	while (semctl(id, 2, GETZCNT) == 0)
		msleep(1);
	int removed = semctl(id, 0, IPC_RMID);
	waitpid(p, &ws, 0);
	err("remove", removed);
	err("gone", semctl(id, 0, GETVAL));
	err("no semaphores", semget(IPC_PRIVATE, 0, 0600));
	err("too many", semget(IPC_PRIVATE, 32001, 0600));
}

static void onalarm(int sig) { (void)sig; }

static void seminterrupt(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sigaction a = {.sa_handler = onalarm, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &a, 0);
	setitimer(ITIMER_REAL, &(struct itimerval){{2, 0}, {0, 20000}}, 0); /* again, should the call not have begun by then */
	err("interrupted", semop(id, &(struct sembuf){0, -1, 0}, 1));
	setitimer(ITIMER_REAL, &(struct itimerval){0}, 0);
	say("nobody waits: %d", semctl(id, 0, GETNCNT));
	semctl(id, 0, IPC_RMID);
}

struct text {
	long type;
	char text[9000];
};

static void receive(const char *what, int id, size_t n, long type, int flags)
{
	struct text m = {0};
	long r = msgrcv(id, &m, n, type, flags);
	if (r == -1)
		err(what, -1);
	else
		say("%s: %ld bytes of type %ld: %.*s", what, r, m.type, (int)r, m.text);
}

static void msg(void)
{
	int id = msgget(IPC_PRIVATE, 0600), ws;
	struct text m = {3, "three"};
	err("send", msgsnd(id, &m, 5, 0));
	for (int i = 1; i <= 4; i++) {
		m = (struct text){10 - i, ""};
		sprintf(m.text, "m%d", i);
		msgsnd(id, &m, 2, 0);
	}
	receive("first", id, 100, 0, 0);
	receive("of a type", id, 100, 8, 0);
	receive("of another type", id, 100, 9, MSG_EXCEPT);
	receive("of the lowest", id, 100, -8, 0);
	receive("of none", id, 100, -8, IPC_NOWAIT);
	receive("too long", id, 1, 0, 0);
	receive("cut", id, 1, 0, MSG_NOERROR);
	receive("none", id, 1, 0, IPC_NOWAIT);
	err("bad type", msgsnd(id, &(struct text){0, ""}, 1, 0));
	err("too large", msgsnd(id, &m, 8193, 0));
	err("bad address", msgsnd(id, (void *)8, 1, 0));
	m.type = 1;
	memset(m.text, 'x', sizeof m.text);
	int n = 0;
	while (msgsnd(id, &m, 1000, IPC_NOWAIT) == 0)
		n++;
	err("full", -1);
	struct msqid_ds ds;
	msgctl(id, IPC_STAT, &ds);
	say("%d messages, %lu told, %lu bytes of %lu, by us %d", n, (unsigned long)ds.msg_qnum, (unsigned long)ds.__msg_cbytes, (unsigned long)ds.msg_qbytes, ds.msg_lspid == getpid());
	pid_t p = fork();
	if (p == 0)
		_exit(msgsnd(id, &m, 1000, 0) != 0);
	until_asleep(p);
	receive("make room", id, 0, 0, MSG_NOERROR);
	waitpid(p, &ws, 0);
	status("sender", ws);
	p = fork();
	if (p == 0) {
		receive("removed", id, 10, 77, 0);
		_exit(0);
	}
	until_asleep(p);
	n = msgctl(id, IPC_RMID, 0);
	waitpid(p, &ws, 0);
	err("remove", n);
	err("gone", msgsnd(id, &m, 1, 0));
}

const struct row sysv_rows[] = {
	{"sysv.shm", shm},
	{"sysv.shm.keys", shmkeys},
	{"sysv.sem", sem},
	{"sysv.sem.interrupted", seminterrupt},
	{"sysv.msg", msg},
	{0, 0},
};
