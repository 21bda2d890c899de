# What programs that nobody here wrote ask of sockets, interfaces and /proc: each line is what
# one of them needs.
import array, fcntl, os, select, socket, struct, subprocess

def run(line):
    subprocess.run(line, shell=True, check=True)

def said(line):
    return subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

def tell(what, f):
    try:
        print(what, f(), flush=True)
    except OSError as e:
        print(what, os.strerror(e.errno) if e.errno else "timed out", flush=True)

run("ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up")
run("ip addr add 10.8.0.1/24 dev v0; ip addr add fd08::1/64 dev v0 nodad")
V4, V6, RAW, DGRAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_RAW, socket.SOCK_DGRAM

# A raw socket receives from the moment that it is there: socat's IP4-RECV.
def raw(family, to, proto):
    def f():
        r = socket.socket(family, RAW, proto)
        r.settimeout(5)
        socket.socket(family, RAW, proto).sendto(b"raw", (to, 0))
        return r.recv(100)[-3:]
    return f
tell("raw", raw(V4, "127.0.0.1", 200))
tell("raw6", raw(V6, "::1", 200))

# nmap -6 sends whole packets.
def whole6(header):
    def f():
        r = socket.socket(V6, RAW, 201)
        r.settimeout(5)
        s = socket.socket(V6, RAW, socket.IPPROTO_RAW)
        s.sendto(header, ("::1", 0))
        return r.recvfrom(100)[0]
    return f
one = socket.inet_pton(V6, "::1")
tell("whole", whole6(struct.pack("!IHBB", 6 << 28, 4, 201, 64) + one + one + b"abcd"))
tell("short", whole6(b"abcd"))
s = socket.socket(V6, RAW, socket.IPPROTO_RAW)
tell("included", lambda: (s.getsockopt(socket.IPPROTO_IPV6, 36), s.setsockopt(socket.IPPROTO_IPV6, 36, 0), s.getsockopt(socket.IPPROTO_IPV6, 36)))
s = socket.socket(V6, DGRAM)
tell("not raw", lambda: s.setsockopt(socket.IPPROTO_IPV6, 36, 1))
s = socket.socket(V6, RAW, socket.IPPROTO_ICMPV6)
tell("ping's checksum", lambda: s.setsockopt(255, 7, 2))
tell("the other level", lambda: s.setsockopt(41, 7, 2))
tell("odd", lambda: s.setsockopt(255, 7, 3))

# unbound's IPV6_MTU, ping's flow labels.
s = socket.socket(V6, DGRAM)
for v in (1280, 1279, 0, 65536):
    tell("IPV6_MTU %d" % v, lambda: s.setsockopt(41, 24, v))
def label(action, label, flags, size=32):
    return lambda: s.setsockopt(41, 32, struct.pack("!16sIBBHHHI", socket.inet_pton(V6, "::1"), label, action, 1, socket.htons(flags), 0, 0, 0)[:size])
for what in ((0, 7, 0), (0, 7, 1), (0, 7, 1), (0, 7, 3), (2, 7, 0), (1, 7, 0), (1, 7, 0), (2, 7, 0), (0, 1 << 20, 1), (9, 7, 0), (0, 8, 1, 31)):
    tell("label %s" % (what,), label(*what))
tell("label sent", lambda: (s.setsockopt(41, 33, 1), s.sendto(b"x", ("::1", 9, 7, 0)))[1])

# tracepath -6 begins with what no packet takes, and reads the path's MTU from the error queue.
s = socket.socket(V6, DGRAM)
s.setsockopt(41, 25, 1)
s.setsockopt(41, 23, 2)
run("ip -6 route add 2001:db8::/32 via fd08::2 mtu lock 1400")
tell("too long", lambda: s.sendto(bytes(127952), ("2001:db8::1", 44444)))
def reported():
    d, control, flags, addr = s.recvmsg(100, 500, socket.MSG_ERRQUEUE)
    e = control[0][2]
    return d, addr[:2], control[0][:2], struct.unpack("IBBBBII", e[:16])
tell("reported", reported)

# iperf: a group without a route is nowhere, one of IPv6 is on the first interface.
for to in ("239.5.5.5", "224.0.0.1", "255.255.255.255"):
    def f():
        c = socket.socket(V4, DGRAM)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        c.connect((to, 5))
    tell(to, f)
    def f():
        c = socket.socket(V4, DGRAM)
        c.setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton("10.8.0.1"))
        c.connect((to, 5))
        return c.getsockname()[0]
    tell(to + " from", f)

# Who pings all nodes hears this one too.
tell("all nodes", lambda: said("ping -6 -c1 -W5 ff02::1%v0 | grep -c 'icmp_seq=1 '"))

# socat's INTERFACE:lo sees what is sent and what is received.
def loopback():
    p = socket.socket(socket.AF_PACKET, RAW, socket.htons(3))
    p.bind(("lo", 0))
    u = socket.socket(V4, DGRAM)
    u.sendto(b"x" * 77, ("127.0.0.1", 9))
    seen = []
    while len(seen) < 2 and select.select([p], [], [], 5)[0]:
        d, addr = p.recvfrom(2000)
        if d.endswith(b"x" * 77) and d[23] == 17:
            seen.append(addr[2])
    return seen
tell("loopback", loopback)

# openvpn's point to point, ifconfig's broadcast.
run("ip addr add 10.9.0.1 peer 10.9.0.2 dev v1; ip addr add fd09::1 peer fd09::2 dev v1 nodad; ip addr add 10.10.0.1/24 brd + dev v1")
print(said("ip -4 addr show v1 | grep inet; ip -6 addr show v1 | grep fd09; ip route; ip -6 route | grep fd09"), flush=True)
def ioctl(name, number):
    b = fcntl.ioctl(socket.socket(V4, DGRAM), number, struct.pack("16s24x", name))
    return socket.inet_ntoa(b[20:24])
for name in (b"v0", b"v1", b"lo"):
    for number in (0x8915, 0x8917, 0x8919, 0x891b):
        tell("%s %#x" % (name, number), lambda: ioctl(name, number))
print(said("ip addr del 10.9.0.1 peer 10.9.0.2 dev v1; ip addr del fd09::1 dev v1; ip route; ip -6 route | grep fd09"), flush=True)

# radvd and dnsmasq read these; nmap reads the table.
run("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 1 > /proc/sys/net/ipv4/ip_forward; ip link add v2 type veth peer name v3")
for c in ("ipv6/conf/v0/forwarding", "ipv6/conf/default/forwarding", "ipv6/conf/lo/forwarding", "ipv6/conf/v2/forwarding", "ipv6/conf/v0/mtu", "ipv6/conf/lo/mtu",
          "ipv4/conf/v0/forwarding", "ipv4/conf/all/forwarding", "ipv4/conf/v2/forwarding"):
    print(c, open("/proc/sys/net/" + c).read().strip(), flush=True)
table = [l.split() for l in open("/proc/net/ipv6_route")]
print(sorted({(l[0], l[1], l[9]) for l in table if l[0].startswith("ff") or l[0].endswith("0001")}), flush=True)

# ss tells which interface a socket is bound to: dnsmasq, dhclient.
for kind in (DGRAM, socket.SOCK_STREAM):
    s = socket.socket(V4, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0")
    s.bind(("10.8.0.1", 4567))
    s6 = socket.socket(V6, kind)
    s6.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0")
    s6.bind(("fd08::1", 4567))
    if kind == socket.SOCK_STREAM:
        s.listen()
        s6.listen()
    print(sorted(l.split()[-2] for l in said("ss -Hlntu sport = 4567").splitlines()), flush=True)
    s.close()
    s6.close()

# A read that ends before a message with files leaves them: ssh's ControlMaster.
a, b = socket.socketpair()
a.sendall(b"head")
a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
print(b.recv(4), len(b.recvmsg(1, 100)[1]), flush=True)
