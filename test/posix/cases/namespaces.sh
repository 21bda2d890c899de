# needs: unshare nsenter lsns python3 ps pgrep
# Namespaces as util-linux and others make them.
cd "$SCRATCH" || exit
unshare -p -f --mount-proc sh -c 'echo $$ $PPID; ps -e -o pid,ppid,comm; readlink /proc/self; kill -9 1; echo alive; sleep 100 & exit 3'
echo $?
unshare -U -r -p -f --mount-proc sh -c 'echo $$; id -u; grep ^NSpid /proc/self/status; kill -TERM $$; exec sh -c "echo \$\$"'
unshare -p -f --mount-proc --kill-child sh -c 'unshare -p -f --mount-proc sh -c "ls -d /proc/[0-9]*; echo \$\$"; ls -d /proc/[0-9]*'
mkfifo go
unshare -p -f --mount-proc sh -c 'read x < go; echo told $x' &
outer=$!
while ! inner=$(pgrep -P $outer) || [ "$(cat /proc/$inner/comm)" != sh ]; do sleep 0.02; done
nsenter -t $inner -p -m sh -c 'echo entered as $$ of $PPID; ps -e -o pid,comm'
grep ^NSpid /proc/$inner/status | cut -f3
lsns -n -o TYPE,NPROCS -p $inner | sort | awk '$1 == "pid"'
test $(readlink /proc/$inner/ns/pid) != $(readlink /proc/self/ns/pid) && echo two
echo hello > go
wait $outer
python3 - <<'END'
import ctypes, os, signal
print(ctypes.CDLL(None).unshare(0x20000000))
r, w = os.pipe()
p = os.fork()
if p == 0:
    if os.fork() == 0:
        os.write(w, b"%d of %d" % (os.getpid(), os.getppid()))
        signal.pause()
    signal.pause()
os.close(w)
print(os.read(r, 100))
os.kill(p, signal.SIGKILL)
print(os.waitpid(p, 0)[1], os.read(r, 100))
try:
    os.fork()
except OSError as e:
    print(e)
END
