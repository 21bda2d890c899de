# Pairs of interfaces, between namespaces of the network too: veth(4), ip-link(8).
mount -t tmpfs none /run
a='address 02:00:00:00:00:0a' b='address 02:00:00:00:00:0b'
ip link set lo up
ip link add v0 $a type veth peer name v1 $b
ip link add v0 type veth peer name v2
ip link add v2 type veth peer name v1
ip link add name toolongforaname0 type veth
ip link add v/2 type veth
ip link
ip -d link show v0 | grep -o veth
ip link set v0 up
ip link show v0
ip netns add inner
ip netns add other
ip link set v1 netns inner
ip link set v1 netns inner
ip link show v0 | sed 's/link-netns.*/link-netns/; s/state [A-Z]*//'
ip -n inner link
ip addr add 10.8.0.1/24 dev v0
ip addr add fd08::1/64 dev v0 nodad
ip -n inner addr add 10.8.0.2/24 dev v1
ip -n inner addr add fd08::2/64 dev v1 nodad
ip -n inner link set v1 up
ip -n inner link set lo up
ip -br link | tr -s ' '
ip -n inner -br link | tr -s ' '
ip route; ip -n inner route
ping -c2 -i0.2 -W20 10.8.0.2 | grep -c ttl=64
ping -c2 -i0.2 -W20 fd08::2 | grep -c ttl=64
ip neigh show 10.8.0.2 | cut -d' ' -f1-5
ip netns exec inner python3 -c '
import socket, sys
l = socket.create_server(("", 7001)); print("ready", flush=True)
c, a = l.accept(); print(a[0])
n = 0
while True:
    b = c.recv(1 << 16)
    if not b: break
    n += len(b)
c.sendall(b"%d" % n)' > /run/out &
while ! grep -q ready /run/out 2>/dev/null; do sleep 0.1; done
python3 -c '
import socket
c = socket.create_connection(("10.8.0.2", 7001))
for i in range(64): c.sendall(bytes(65536))
c.shutdown(1); print(c.recv(100))'
wait
cat /run/out
# A third namespace, behind a router.
ip link add w0 netns inner $a type veth peer name w1 $b netns other
ip -n inner addr add 10.8.1.1/24 dev w0; ip -n inner link set w0 up
ip -n other addr add 10.8.1.2/24 dev w1; ip -n other link set w1 up; ip -n other link set lo up
ip -n other route add default via 10.8.1.1
ip route add 10.8.1.0/24 via 10.8.0.2
ip netns exec inner sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 2 > /proc/sys/net/ipv4/conf/w0/rp_filter'
cat /proc/sys/net/ipv4/ip_forward; ip netns exec inner cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/w0/rp_filter
ls /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf; cat /proc/sys/net/ipv6/conf/v0/accept_ra
ping -c1 -W20 10.8.1.2 | grep -c ttl=63
ip link add v0 netns other type veth peer name w9 && ip link del w9
ip -n inner link set v1 name eth0
ip -n inner link set eth0 mtu 1400
ip -n inner -br link | tr -s ' '
ip link set v0 down
ip -n inner -br link show eth0 | tr -s ' '
ip link set v0 up
ip link set v0 address 02:00:00:00:00:0c
ip link show v0 | grep -c 02:00:00:00:00:0c
ethtool -i v0 | grep driver; ethtool v0 | grep Link; ethtool -i lo 2>&1 | grep -c Operation
mount -t sysfs none /sys
ls /sys/class/net
cd /sys/class/net/v0
cat address mtu ifindex iflink flags operstate carrier type tx_queue_len uevent broadcast addr_len
cat /sys/class/net/lo/statistics/collisions
test $(cat statistics/rx_packets) -gt 1 && test $(cat statistics/tx_bytes) -gt 4194304 && echo counted
cd /
ip netns exec inner ls /sys/class/net
# Moved, made again, gone with a namespace or the other end.
ip -n inner link set eth0 netns $$ name back
ip -br link | tr -s ' '
ip link del v0
ip -br link | tr -s ' '
ip -n other link del w1
ip netns del other
ip -n inner -br link | tr -s ' '
ip link add type veth
ip -br link | cut -d' ' -f1
ip link del lo 2>&1 | grep -c ''
ip link add x0 type nonesuch 2>&1 | grep -c .
ip link set lo netns inner 2>&1 | grep -c ''
setpriv --reuid 1 --clear-groups ip link add y0 type veth 2>&1 | grep -c 'not permitted'
unshare -U -r -n sh -c 'ip link add u0 type veth peer name u1; ip -br link | cut -d" " -f1'
