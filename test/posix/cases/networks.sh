# needs: unshare nsenter ip ss ping python3
# Namespaces of the network: a loopback of their own, and nothing else.
unshare -n ip addr
unshare -n ip route
unshare -n sh -c 'ip link set lo up; ip addr; ip route show table all; cat /proc/net/dev | wc -l; ping -c1 -W5 127.0.0.1 | grep -c "ttl=64"'
unshare -n -U -r sh -c 'ip addr add 10.1.2.3/24 dev lo; ip link set lo up; ip -br addr | tr " " "\n" | sort; ping -c1 -W5 10.1.2.3 | grep -c "ttl=64"'
cat > /tmp/networks.$$.py <<'END'
import ctypes, errno, os, socket

def new():
    if ctypes.CDLL(None).unshare(0x40000000):
        raise OSError("unshare")

def attempt(what, f):
    try:
        f()
        print(what, "ok")
    except OSError as e:
        print(what, errno.errorcode[e.errno])

outer = open("/proc/self/ns/net")
first = socket.socket()
first.bind(("127.0.0.1", 0))
first.listen(5)
port = first.getsockname()[1]
name = socket.socket(socket.AF_UNIX)
name.bind("\0networks%d" % port)
name.listen(5)
path = "/tmp/networks%d" % port
there = socket.socket(socket.AF_UNIX)
there.bind(path)
there.listen(5)
new()
inner = open("/proc/self/ns/net")
any = socket.socket()
any.bind(("", 80))
any.listen(5)
attempt("down", lambda: socket.socket().connect(("127.0.0.1", 80)))
attempt("datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
attempt("outside", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)))
os.system("ip link set lo up")
attempt("up", lambda: socket.socket().connect(("127.0.0.1", 80)))
attempt("other's port", lambda: socket.socket().connect(("127.0.0.1", port)))
attempt("abstract name", lambda: socket.socket(socket.AF_UNIX).connect("\0networks%d" % port))
attempt("path", lambda: socket.socket(socket.AF_UNIX).connect(path))
os.unlink(path)
s = socket.socket()
attempt("same port", lambda: s.bind(("127.0.0.1", port)))
s.listen(5)
c = socket.create_connection(("127.0.0.1", port))
a, _ = s.accept()
a.send(b"hello")
print(c.recv(5))
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.bind(("::1", 53))
u.sendto(b"six", ("::1", 53))
print(u.recv(5))
os.system("ss -tanH | grep -E 'LISTEN|ESTAB' | awk '{print $1}' | sort | uniq -c; grep -c ' 0[1A] 0' /proc/net/tcp")
libc = ctypes.CDLL(None)
print(libc.setns(outer.fileno(), 0x40000000))
c = socket.create_connection(("127.0.0.1", port))
print("back at the first", first.accept()[0].getsockname()[1] == port)
a.send(b"still")
attempt("back", lambda: socket.socket().connect(("127.0.0.1", 80)))
print(libc.setns(inner.fileno(), 0))
attempt("again", lambda: socket.socket().connect(("127.0.0.1", 80)))
print(libc.setns(inner.fileno(), 0x20000000))
END
python3 /tmp/networks.$$.py
rm -f /tmp/networks.$$.py
for i in 1 2 3; do
	unshare -n sh -c 'i=0; while [ $i -lt 60 ]; do unshare -n true || echo failed; i=$((i + 1)); done'
done
unshare -m sh -c '
mount -t tmpfs none /run
ip netns add inner
ip netns list
ip netns exec inner ip -br link | cut -d" " -f1
ip netns exec inner sh -c "readlink /proc/self/ns/net" > /tmp/networks.$$
test $(cat /tmp/networks.$$) != $(readlink /proc/self/ns/net) && echo another
rm /tmp/networks.$$
ip netns del inner
ip netns list'
