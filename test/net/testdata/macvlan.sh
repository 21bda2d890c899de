# Interfaces upon another, each with an address of its own, in namespaces as container engines put
# them: macvlan of ip-link(8).
refused() { "$@" >/dev/null 2>&1 && echo "NOT REFUSED: $*" || echo "refused: $*"; }
# Linux tells of a carrier some time after it has come or gone.
becomes() { for n in $(seq 300); do ip $3 $4 link show dev $1 | grep -q "$2" && return; sleep 0.1; done; echo "$1 is not $2"; }
pings() { ip netns exec $1 ping -c1 -W$3 $2 | grep -o '^1 packets.*loss'; }
mount -t tmpfs none /run && mkdir -p /run/netns
ip netns add far; ip netns add one; ip netns add two; ip netns add three
ip link add v0 address 02:00:00:00:00:0a type veth peer name v1 address 02:00:00:00:00:0b netns far
ip addr add 10.7.0.1/24 dev v0; ip link set v0 up
ip -n far addr add 10.7.0.2/24 dev v1; ip -n far link set v1 up
n=10
for ns in one two; do
	ip link add link v0 name m$n address 02:00:00:00:01:$n type macvlan mode bridge
	ip link show m$n | sed 's/ *$//'
	ip link set m$n netns $ns name e0
	ip -n $ns link set lo up; ip -n $ns addr add 10.7.0.$n/24 dev e0; ip -n $ns link set e0 up
	n=$((n + 1))
done
ip link add link v0 name m12 address 02:00:00:00:01:12 netns three type macvlan mode private
ip -n three addr add 10.7.0.12/24 dev m12; ip -n three link set m12 up
ip -n one -d link show e0 | grep -o 'macvlan mode [a-z]*'
becomes e0 'state UP' -n one
ip -n one link show e0 | sed 's/link-netnsid.*/link-netnsid/; s/ *$//'
echo out; pings one 10.7.0.2 20; pings far 10.7.0.11 20
echo neighbours; pings one 10.7.0.11 20
echo private; pings one 10.7.0.12 1; pings far 10.7.0.12 20
echo lower; pings one 10.7.0.1 1
ip netns exec two python3 -c '
import socket
s = socket.create_server(("", 80)); open("/run/ready", "w").close()
for i in range(2):
    c, a = s.accept(); n = 0
    while b := c.recv(65536): n += len(b)
    c.sendall(b"%s %d" % (a[0].encode(), n)); c.close()' &
while [ ! -e /run/ready ]; do sleep 0.02; done
for ns in one far; do ip netns exec $ns python3 -c '
import socket
c = socket.create_connection(("10.7.0.11", 80)); c.sendall(bytes(2000000)); c.shutdown(1); print(c.recv(99).decode())'; done
wait
ip link set v0 down
becomes e0 'state [A-Z]*DOWN' -n one
ip -n one -br link show e0 | grep -o 'LOWERLAYERDOWN\|DOWN\|UP' | head -1
ip link set v0 up
refused ip link add link lo type macvlan
refused ip link add link v0 name m99 mtu 9000 type macvlan
refused ip link add m98 type macvlan
ip link del v0
ip -n one -br link | cut -d' ' -f1; ip -n three -br link | cut -d' ' -f1
