# VLANs over a pair and over a bridge: ip-link(8). What ip says of them was seen on Linux 6.1.
refused() { "$@" >/dev/null 2>&1 && echo "NOT REFUSED: $*" || echo "refused: $*"; }
pings() { ip netns exec far ping -c1 -W$2 $1 | grep -o '^1 packets.*loss'; }
mount -t tmpfs none /run && mkdir -p /run/netns
ip netns add far
ip link add v0 address 02:00:00:00:00:0a type veth peer name v1 address 02:00:00:00:00:0b netns far
ip link set v0 up; ip -n far link set v1 up
ip link add link v0 name v0.5 type vlan id 5
ip link add link v0 name v0.6 type vlan id 6
refused ip link add link v0 name again type vlan id 5
refused ip link add link v0 name big type vlan id 4095
refused ip link add link lo name low type vlan id 5
ip -d link show v0.5 | sed 's/ promisc.*//; s/ addrgenmode.*//; s/ *$//'
ip link set v0.5 up; ip addr add 10.5.0.1/24 dev v0.5; ip link set v0.6 up; ip addr add 10.6.0.1/24 dev v0.6
ip link show v0.5 | head -1
ip -n far link add link v1 name w5 type vlan id 5; ip -n far link set w5 up; ip -n far addr add 10.5.0.2/24 dev w5; ip -n far route add 10.6.0.0/24 dev w5
pings 10.5.0.1 20
python3 -c '
import socket, threading
p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); p.bind(("v0", 3)); p.settimeout(20)
import subprocess
subprocess.Popen(["ip", "netns", "exec", "far", "ping", "-c1", "-W20", "10.5.0.1"], stdout=subprocess.DEVNULL)
while True:
    b = p.recv(2000)
    if b[12:14] == b"\x81\x00" and b[16:18] == b"\x08\x00": print(b[12:18].hex()); break'
python3 -c '
import socket
s = socket.create_server(("10.5.0.1", 80)); open("/run/ready", "w").close(); c, a = s.accept(); n = 0
while b := c.recv(65536): n += len(b)
c.sendall(b"%d" % n)' &
while [ ! -e /run/ready ]; do sleep 0.02; done
ip netns exec far python3 -c '
import socket
c = socket.create_connection(("10.5.0.1", 80)); c.sendall(bytes(2000000)); c.shutdown(1); print(c.recv(99).decode())'
wait
ip link del v0.5; ip link set v0 down
ip -br link show v0.6 | sed 's/  */ /g' | cut -d' ' -f1,2
ip link del v0; ip -br link | cut -d' ' -f1
