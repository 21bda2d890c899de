package main

// A row is one line of the table.
type row struct {
	name   string
	unit   unit
	target target
	// measure gives one sample.
	measure func(b *run, e environment) (float64, error)
	rounds  int  // at most so many samples; 0 is all rounds
	long    bool // left out by -quick
}

// rows is the table, in order. Single operations are named as in micro/*.c.
var rows = []row{
	operation("getpgid", atMost(1.5)),
	operation("getpid by syscall(2)", atMost(1)),
	operation("clock_gettime", atMost(1.05)),
	operation("read 1 B of /dev/zero", atMost(1.5)),
	operation("read 4 KiB of a file", none),
	operation("read 64 KiB of a file", none),
	operation("open+close", none),
	operation("stat", none),
	operation("stat, no such file", none),
	operation("pipe write+read", atMost(1.5)),
	operation("eventfd+epoll", atMost(1.5)),
	operation("mmap+munmap", atMost(1.3)),
	operation("mmap+touch+munmap", atMost(1.3)),
	operation("page fault, anonymous", atMost(1.05)),
	operation("mprotect pair", atMost(1.5)),
	operation("SIGSEGV handler+mprotect", atMost(2)),
	operation("signal to self", atMost(3)),
	operation("futex ping-pong", atMost(1.05)),
	operation("pipe ping-pong", atMost(1)),
	operation("socketpair ping-pong", atMost(1)),
	operation("fork+exit+wait", atMost(1.8)),
	operation("fork+exec+wait, static", atMost(1.8)),
	operation("fork+exec+wait, dynamic", atMost(1.8)),
	operation("pthread_create+join", atMost(1.8)),
	operation("getpgid, four busy guests", under(1000)),

	startUp("start-up: /bin/true", "/bin/true"),
	startUp("start-up: python3 -c pass", "/usr/bin/python3", "-c", "pass"),
	{"start-up: bulkhead run /bin/true", milliseconds, none, measureOCIRun, 0, false},

	work("python3 -c pass", 5, atMost(1.3), "/usr/bin/python3", "-c", "pass"),
	work("sh: 500 × /bin/true", 0, atMost(1.8), "/bin/sh", "-c", "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done"),
	{"make -j2, 50 C files", milliseconds, atMost(1.2), measureMake, 3, false},
	{"go build hello, warm cache", milliseconds, atMost(1.2), measureGoBuild, 5, false},
	long(work("gcc hello.c", 0, none, "/bin/sh", "-c", "gcc -O1 -o /tmp/hello-bench DIR/hello.c && /tmp/hello-bench && rm /tmp/hello-bench")),
	long(work("ls -lR /usr/share", 0, none, "/bin/sh", "-c", "ls -lR /usr/share >/dev/null")),
	long(work("grep -r over /usr/include", 0, none, "/bin/sh", "-c", "grep -rc bulkhead /usr/include >/dev/null; true")),
	{"git status, 1000 files", milliseconds, none, measureGitStatus, 3, true},

	{"idle memory (PSS)", mebibytes, none, measureIdleMemory, 3, false},
	{"idle CPU", milliPerSecond, under(1), measureIdleCPU, 1, false},

	loopback("loopback: TCP 1-byte round trip", "exchange", none),
	loopback("loopback: connect+accept+close", "connect", none),
	{"loopback: iperf3", gigabits, atLeast(1), measureLoopbackIperf, 3, false},
	exchanged("veth: TCP 1-byte round trip", "exchange", atMost(2.5)),
	exchanged("veth: connect+accept+close", "connect", atMost(3)),
	iperf("veth: iperf3 in, 1 stream", atLeast(0.9)),
	iperf("veth: iperf3 out, 1 stream", atLeast(0.9), "-R"),
	iperf("veth: iperf3 in, 8 streams", atLeast(0.9), "-P", "8"),
	iperf("veth: iperf3 out, 8 streams", atLeast(0.9), "-P", "8", "-R"),
	{"veth: CPU per gigabit, in", cpuPerGigabit, none, func(b *run, e environment) (float64, error) { return measureCPU(b, e) }, 3, false},
	{"veth: CPU per gigabit, out", cpuPerGigabit, none, func(b *run, e environment) (float64, error) { return measureCPU(b, e, "-R") }, 3, false},
	redis("veth: Redis SET", "set", 1, atLeast(0.6)),
	redis("veth: Redis GET", "get", 1, atLeast(0.6)),
	redis("veth: Redis SET -P 16", "set", 16, atLeast(0.8)),
	redis("veth: Redis GET -P 16", "get", 16, atLeast(0.8)),
	nginx("veth: nginx, 1 KiB", "1k", atLeast(0.5)),
	nginx("veth: nginx, 1 MiB", "1m", atLeast(0.9)),
}

func long(r row) row {
	r.long = true
	return r
}
