# needs: strace
# strace(1) starts a program, follows its children, counts, and attaches.
cd "$(mktemp -d)" || exit 1

echo '== what was called'
strace -f -o trace -e trace=openat,getppid,close cat /dev/null
echo "status $?"
grep -c 'openat(.*"/dev/null", O_RDONLY' trace
tail -n 1 trace | sed 's/^[0-9]* *//'

echo '== children'
strace -f -o trace -e trace=execve sh -c '/bin/true; /bin/false; exit 3'
echo "status $?"
grep -c 'execve("/bin/true".*= 0' trace
grep -c 'execve("/bin/false".*= 0' trace
grep -c 'exited with 1' trace

echo '== counts'
strace -f -c -o counts sh -c 'ls / >/dev/null; echo done'
echo "status $?"
awk '$NF == "execve" || $NF == "write" { print $NF, ($4 > 0) }' counts | sort
awk '$NF == "total" { print $NF }' counts

echo '== an error put in its place'
strace -o trace -e trace=mkdir -e inject=mkdir:error=ENOSPC mkdir new
echo "status $?"
ls

echo '== signals'
strace -o trace -e trace=none sh -c 'kill -TERM $$'
echo "status $?"
sed 's/si_pid=[0-9]*/si_pid=N/' trace

echo '== attached to what runs'
mkfifo gate
sh -c 'read line <gate; exit 4' &
strace -f -o trace -p $! 2>attached &
tracer=$!
until grep -q attached attached 2>/dev/null; do sleep 0.05; done
echo go >gate
wait $tracer
grep -c 'exited with 4' trace
