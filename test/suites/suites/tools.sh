# Debuggers, tracers, terminals and everyday tools.
# needs: gdb strace ltrace valgrind gcc tmux screen expect rsync sqlite3 socat
# packages: gdb strace ltrace valgrind gcc libc6-dev tmux screen expect rsync sqlite3 socat procps util-linux iproute2
# format: words
# timeout: 10m
. "$SUITES/common.inc"
gcc -g -w -pthread -o prog "$SUITES/programs/sanitized.c"
try gdb-threads has 'Thread 0x' gdb -q -batch -ex 'break race' -ex run -ex 'info threads' -ex kill --args ./prog r
try gdb-watch has 'Old value = 0' gdb -q -batch -ex 'set can-use-hw-watchpoints 0' -ex 'tbreak race' -ex run -ex 'watch racy' -ex continue -ex kill --args ./prog r
try gdb-segv has SIGSEGV gdb -q -batch -ex run -ex bt --args ./prog n
try gdb-quiet hasnot warning gdb -q -batch -ex run --args ./prog o
try strace has 'exited with 0' strace -f ./prog r
try strace-count has 'total' strace -c ls /
try ltrace has 'pthread_create' ltrace -f ./prog r
try memcheck has 'Invalid write of size 1' valgrind ./prog h
try helgrind has 'Possible data race' valgrind --tool=helgrind ./prog r
try callgrind valgrind --tool=callgrind --callgrind-out-file=/dev/null ls /
try tmux sh -c 'tmux -L t new-session -d "echo in tmux; sleep 100"; sleep 1; tmux -L t capture-pane -p | grep -q "in tmux"; r=$?; tmux -L t kill-server; exit $r'
try screen sh -c 'screen -dmS t sh -c "echo hi > screened"; sleep 1; grep -q hi screened'
try expect expect -c 'spawn bash --norc; send "echo \$((40+2))\r"; expect { 42 { exit 0 } timeout { exit 1 } }'
try sqlite sh -c 'sqlite3 x.db "pragma journal_mode=wal; create table t(a); insert into t select value from generate_series(1,10000); select sum(a) from t; pragma integrity_check;" | grep -q 50005000'
try rsync sh -c 'mkdir a && cp /etc/passwd /etc/group a && ln -s passwd a/link && rsync -a a/ b && diff -r a b'
try socat sh -c 'socat -u TCP-LISTEN:9999,reuseaddr OPEN:got,creat & sleep 0.5; socat -u OPEN:/etc/passwd TCP:127.0.0.1:9999; wait; cmp got /etc/passwd'
try socat-pty sh -c 'socat UNIX-LISTEN:us EXEC:cat,pty & sleep 0.5; echo q | socat -t1 - UNIX:us | grep -q q'
for tool in uptime free vmstat 'ps aux' 'top -bn1' ipcs lscpu df mount w prlimit lslocks lsns 'chrt -p 1' 'ionice -p 1' 'taskset -p 1' 'setarch -R true' \
	'unshare -r true' 'unshare -m true' 'unshare -pf true' 'ss -s' 'ip -s link' 'ping -c 1 127.0.0.1' 'ping -6 -c 1 ::1' 'sysctl kernel.ostype' nproc 'flock lock true' 'getconf _PHYS_PAGES' dmesg; do
	try "$tool" $tool
done
