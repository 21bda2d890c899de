# A bridge as container engines make it: two namespaces on it by pairs, a way out by address
# translation into a third, and what ip(8) and bridge(8) say of it all.
mount -t tmpfs none /run 2>/dev/null && mkdir -p /run/netns
refused() { "$@" >/dev/null 2>&1 && echo "NOT REFUSED: $*" || echo "refused: $*"; }
# Linux tells of a carrier some time after it has come or gone.
becomes() { for n in $(seq 300); do ip $3 $4 link show dev $1 | grep -q "$2" && return; sleep 0.1; done; echo "$1 is not $2"; }
say() { echo "+ $*"; "$@" 2>&1 | sed 's/ *$//'; }
ip link set lo up
ip link add br0 address 02:00:00:00:00:b0 type bridge
say ip link show br0
ip addr add 10.88.0.1/24 dev br0
ip link set br0 up
becomes br0 'NO-CARRIER.*state DOWN'
say ip link show br0
say ip route
n=0
for ns in one two; do
	n=$((n + 1))
	ip netns add $ns
	ip link add p$n address 02:00:00:00:01:0$n type veth peer name e0 address 02:00:00:00:02:0$n netns $ns
	ip link set p$n master br0 up
	ip -n $ns link set lo up
	ip -n $ns addr add 10.88.0.1$n/24 dev e0
	ip -n $ns link set e0 up
	ip -n $ns route add default via 10.88.0.1
done
becomes br0 'state UP'; becomes p1 'state UP'; becomes p2 'state UP'
say ip link show br0
ip link show p1 | sed 's/@.*: /: /; s/ link-netns.*//; s/ *$//'
say bridge link show dev p1 | sed 's/@[^:]*//'
ip netns exec one ping -c2 -W20 10.88.0.12 | grep -o '^2 packets.*loss'
ip netns exec two ping -c1 -W20 10.88.0.1 | grep -o '^1 packets.*loss'
bridge fdb show br br0 | grep master | sed 's/ *$//' | sort
ip -n one neigh show to 10.88.0.12 | grep -o 'dev.*lladdr [^ ]*'

# hairpin, isolation and fixed stations
say bridge link set dev p1 hairpin on
say ip link set p1 type bridge_slave isolated on
say ip link set p2 type bridge_slave isolated on
bridge -d link show dev p1 | grep -o 'hairpin [onf]*\|isolated [onf]*\|learning [onf]*'
ip netns exec one ping -c1 -W1 10.88.0.12 | grep -o '^1 packets.*loss'
ip netns exec one ping -c1 -W20 10.88.0.1 | grep -o '^1 packets.*loss'
ip link set p1 type bridge_slave isolated off
say bridge fdb add 02:00:00:00:09:09 dev p1 master static
say bridge fdb add 02:00:00:00:09:09 dev p1 master static
say bridge fdb replace 02:00:00:00:09:09 dev p2 master static
bridge fdb show br br0 | grep 09:09 | sed 's/ *$//'
say bridge fdb del 02:00:00:00:09:09 dev p2 master
say bridge fdb del 02:00:00:00:09:09 dev p2 master
bridge fdb show br br0 | grep -c 09:09
ip link set br0 type bridge ageing_time 1000 forward_delay 400 priority 4096
ip -d link show br0 | grep -o 'forward_delay [0-9]*\|ageing_time [0-9]*\|priority [0-9]*\|bridge_id [^ ]*\|vlan_filtering .\|mcast_snooping .'
ip -d link show p2 | grep -o 'bridge_slave state [a-z]*\|hairpin [onf]*\|isolated [onf]*\|designated_bridge [^ ]*\|port_no [^ ]*\|promiscuity .'

# out by address translation
ip netns add out
ip link add up0 type veth peer name e0 netns out
ip addr add 192.0.2.1/24 dev up0; ip link set up0 up
ip -n out addr add 192.0.2.2/24 dev e0; ip -n out link set e0 up; ip -n out link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -s 10.88.0.0/24 ! -o br0 -j MASQUERADE
ip netns exec one ping -c1 -W20 192.0.2.2 | grep -o '^1 packets.*loss'
ip netns exec out python3 -c '
import socket
s = socket.create_server(("192.0.2.2", 80)); open("/run/ready", "w").close()
c, a = s.accept(); n = 0
while b := c.recv(65536): n += len(b)
c.sendall(b"%s %d" % (a[0].encode(), n))' &
while [ ! -e /run/ready ]; do sleep 0.02; done
ip netns exec two python3 -c '
import socket
c = socket.create_connection(("192.0.2.2", 80)); c.sendall(bytes(3000000)); c.shutdown(1); print(c.recv(99).decode())'
wait
# from outside to a published port
iptables -t nat -A PREROUTING -i up0 -p tcp --dport 8080 -j DNAT --to-destination 10.88.0.11:80
ip netns exec one python3 -c '
import socket
s = socket.create_server(("", 80)); open("/run/ready2", "w").close(); c, a = s.accept(); c.sendall(a[0].encode())' &
while [ ! -e /run/ready2 ]; do sleep 0.02; done
ip netns exec out python3 -c '
import socket
print(socket.create_connection(("192.0.2.1", 8080)).recv(99).decode())'
wait

# what is refused, and what goes
refused ip link add br0 type bridge
ip link add br1 type bridge
refused ip link set br1 master br0
refused ip link set lo master br0
refused ip link set up0 master p1
refused ip link set br0 netns one
refused ip link set br0 mtu 70000
ip link set br1 up
ip link add v0 mtu 1400 address 02:00:00:00:00:0a type veth peer name v1
ip link set v0 master br1
ip -br link show br1 | grep -o '02:.*'
ip link show br1 | grep -o 'mtu [0-9]*'
ip link set v0 up; ip link set v1 up
becomes br1 'state UP'
ip -br link show br1 | sed 's/  */ /g'
ip link set v0 nomaster
becomes br1 'NO-CARRIER.*state DOWN'
ip link show br1 | sed 's/ *$//'
ip link del br0
becomes p1 'state UP'
ip -br link show p1 | grep -o 'UP\|DOWN'
bridge link
