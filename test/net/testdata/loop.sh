# Two bridges joined twice: a broadcast goes round until a cable is pulled, and nothing else suffers.
mount -t sysfs none /sys
ip link set lo up
ip link add b0 type bridge; ip link add b1 type bridge
ip link add p0 type veth peer name q0; ip link add p1 type veth peer name q1
ip link set p0 master b0; ip link set p1 master b0; ip link set q0 master b1; ip link set q1 master b1
ip addr add 10.7.0.1/24 dev b0
for l in b0 b1 p0 q0 p1 q1; do ip link set $l up; done
python3 -c '
import socket, subprocess, time
def count(): return int(open("/sys/class/net/q0/statistics/rx_packets").read())
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for i in range(200): s.sendto(bytes(1000), ("10.7.0.255", 9))
time.sleep(2)
before = count()
time.sleep(1)
print("goes round", count() > before + 200)
l = socket.create_server(("127.0.0.1", 0))
for i in range(20):
    c = socket.create_connection(l.getsockname(), timeout=20)
    p, _ = l.accept()
    c.sendall(b"x")
    p.recv(1)
print("others are served")
subprocess.run(["ip", "link", "set", "p1", "down"])
for i in range(100):
    before = count()
    time.sleep(.2)
    if count() == before: break
print("ends", count() == before)'
