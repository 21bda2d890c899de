# needs: bwrap ps
# Bubblewrap, with what it can unshare.
bwrap="bwrap --ro-bind / / --proc /proc --dev /dev --die-with-parent"
$bwrap --unshare-user --unshare-pid --unshare-uts --unshare-ipc --unshare-cgroup-try --hostname inside sh -c 'ps -e -o pid,ppid,comm; id -u; hostname'
$bwrap --unshare-pid --as-pid-1 sh -c 'echo $$; ls -d /proc/[0-9]*'
$bwrap --unshare-user --unshare-pid --uid 1000 --gid 1000 --tmpfs /tmp sh -c 'id -u; id -g; touch /tmp/x /x; ls /tmp; exit 7'
echo $?
$bwrap --unshare-pid sh -c 'kill -9 $$'
echo $?
$bwrap --unshare-all --proc /proc sh -c 'ps -e -o pid,comm; cat /proc/net/if_inet6 | cut -c1-32; wc -l < /proc/net/dev'
