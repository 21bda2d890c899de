# What tun(4) answers: the kernel's Documentation/networking/tuntap.rst.
import errno, fcntl, os, select, socket, struct, subprocess, sys
sys.stdout.reconfigure(line_buffering=True)

TUNSETIFF, TUNGETIFF, TUNSETPERSIST, TUNGETFEATURES = 0x400454ca, 0x800454d2, 0x400454cb, 0x800454cf
TUN, TAP, NO_PI, VNET, MULTI = 1, 2, 0x1000, 0x4000, 0x100

def attempt(what, f):
    try:
        r = f()
        print(what, "ok" if r is None else r)
        return r
    except OSError as e:
        print(what, errno.errorcode[e.errno])

def opened(): return os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
def setiff(f, name, flags):
    r = fcntl.ioctl(f, TUNSETIFF, struct.pack("16sH22x", name, flags))
    return r[:16].rstrip(b"\0").decode()
def sh(s): subprocess.run(["sh", "-c", s])

def checksum(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
def ipv4(src, dst, proto, body):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 7, 0, 64, proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return h[:10] + struct.pack("!H", checksum(h)) + h[12:] + body
def echo(kind, payload):
    b = struct.pack("!BBHHH", kind, 0, 0, 99, 1) + payload
    return b[:2] + struct.pack("!H", checksum(b)) + b[4:]

def poll(f, ms=0):
    p = select.poll(); p.register(f, select.POLLIN | select.POLLOUT)
    return [hex(e) for _, e in p.poll(ms)]
def readv4(f, skip=0, n=2048):
    while True:
        select.select([f], [], [], 20)
        b = os.read(f, n)
        if len(b) > skip and b[skip] >> 4 == 4: return b

f = opened()
attempt("read unattached", lambda: os.read(f, 10))
attempt("write unattached", lambda: os.write(f, b"x" * 30))
attempt("getiff unattached", lambda: fcntl.ioctl(f, TUNGETIFF, bytes(40)))
print("poll unattached", poll(f))
attempt("neither", lambda: setiff(f, b"", 0))
attempt("bad name", lambda: setiff(f, b"a/b", TUN))
attempt("loopback", lambda: setiff(f, b"lo", TUN))
print(setiff(f, b"", TUN | NO_PI))
attempt("again", lambda: setiff(f, b"x0", TUN | NO_PI))
g = opened()
attempt("busy", lambda: setiff(g, b"tun0", TUN | NO_PI))
attempt("other kind", lambda: setiff(g, b"tun0", TAP | NO_PI))
attempt("exclusive", lambda: setiff(g, b"tun0", TUN | 0x8000))
print(setiff(g, b"vpn%d", TUN | NO_PI | VNET))
os.close(g)
r = fcntl.ioctl(f, TUNGETIFF, bytes(40)); print(r[:16].rstrip(b"\0"), hex(struct.unpack("H", r[16:18])[0]))
sh("ip link show tun0; ip -d link show tun0 | grep -o 'tun type.*persist off'; ls /sys/class/net >/dev/null")
print("poll down", poll(f))
attempt("write down", lambda: os.write(f, ipv4("10.7.0.2", "10.7.0.1", 1, echo(8, b"abcd"))))
sh("ip addr add 10.7.0.1/24 dev tun0; ip link set tun0 up; ip -br addr show tun0 | tr -s ' ' | cut -d' ' -f1-3; ip route")
print("poll up", int(poll(f)[0], 16) & 4)
attempt("not IP", lambda: os.write(f, b"\x10" + b"x" * 30))
attempt("nothing", lambda: os.write(f, b""))
print(os.write(f, ipv4("10.7.0.2", "10.7.0.1", 1, echo(8, b"abcdefgh"))))
b = readv4(f)
print(len(b), b[9], socket.inet_ntoa(b[12:16]), socket.inet_ntoa(b[16:20]), b[20], b[28:])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("10.7.0.1", 5000))
u.sendto(b"out", ("10.7.0.9", 53))
b = readv4(f)
print(len(b), b[9], socket.inet_ntoa(b[16:20]), struct.unpack("!HH", b[20:24]), b[28:], checksum(b[:20]))
u.sendto(b"cut" * 100, ("10.7.0.9", 53))
print(len(readv4(f, 0, 50)))
seg = struct.pack("!HHHH", 53, 5000, 8 + 5, 0) + b"reply"
os.write(f, ipv4("10.7.0.9", "10.7.0.1", 17, seg))
u.settimeout(20)
print(u.recvfrom(100))
sh("ip link set tun0 mtu 1000; ip link set tun0 name vpn7; ip -br link show vpn7 | cut -d' ' -f1")
attempt("address", lambda: subprocess.check_output(["sh", "-c", "ip link set vpn7 address 02:00:00:00:00:01 2>&1 || true"]).decode().strip())
sh("ip link del vpn7")
attempt("read of one that went", lambda: os.read(f, 10))
print("poll of one that went", poll(f))
os.close(f)
# With information, and a virtio header.
f = opened(); print(setiff(f, b"inf0", TUN))
sh("ip addr add 10.7.1.1/24 dev inf0; ip link set inf0 up")
attempt("short", lambda: os.write(f, b"\0\0\x08"))
print(os.write(f, b"\0\0\x08\0" + ipv4("10.7.1.2", "10.7.1.1", 1, echo(8, b"info"))))
b = readv4(f, 4); print(b[:4], len(b))
u.close(); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b"q" * 100, ("10.7.1.9", 53)); b = readv4(f, 4, 60); print(b[:4], len(b))
attempt("too small", lambda: os.read(f, 3))
os.close(f)
f = opened(); print(setiff(f, b"vn0", TUN | NO_PI | VNET))
sh("ip addr add 10.7.2.1/24 dev vn0; ip link set vn0 up")
print(struct.unpack("i", fcntl.ioctl(f, 0x800454d7, bytes(4))))
attempt("offload", lambda: fcntl.ioctl(f, 0x400454d0, 7))
attempt("offload without sums", lambda: fcntl.ioctl(f, 0x400454d0, 2))
attempt("short", lambda: os.write(f, b"\0" * 9))
attempt("long header", lambda: os.write(f, struct.pack("BBHHHH", 0, 0, 2000, 0, 0, 0) + ipv4("10.7.2.2", "10.7.2.1", 1, echo(8, b"vnet"))))
print(os.write(f, bytes(10) + ipv4("10.7.2.2", "10.7.2.1", 1, echo(8, b"vnet"))))
b = readv4(f, 10); print(len(b), b[-4:])
u.close(); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("10.7.2.1", 0)); port = u.getsockname()[1]
seg = struct.pack("!HHHH", 53, port, 12, 0) + b"part"
pseudo = socket.inet_aton("10.7.2.9") + socket.inet_aton("10.7.2.1") + struct.pack("!BBH", 0, 17, 12)
seg = seg[:6] + struct.pack("!H", ~checksum(pseudo) & 0xffff) + seg[8:]
os.write(f, struct.pack("BBHHHH", 1, 0, 0, 0, 20, 6) + ipv4("10.7.2.9", "10.7.2.1", 17, seg))
u.settimeout(20); print(u.recvfrom(100))
os.close(f)
# TAP.
f = opened(); print(setiff(f, b"", TAP | NO_PI))
mac = fcntl.ioctl(f, 0x8927, struct.pack("16s24x", b""))
print(struct.unpack("H", mac[16:18]), mac[18] & 3)
sh("ip addr add 10.7.3.1/24 dev tap0; ip link set tap0 up; ip -br link show tap0 | grep -o '<.*>'; ip route")
attempt("short", lambda: os.write(f, b"x" * 13))
me = b"\2\0\0\0\0\5"
os.write(f, b"\xff" * 6 + me + b"\x08\x06" + struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, me, socket.inet_aton("10.7.3.2"), bytes(6), socket.inet_aton("10.7.3.1")))
while True:
    select.select([f], [], [], 20); b = os.read(f, 2000)
    if b[12:14] == b"\x08\x06" and b[20:22] == b"\0\2": break
print(b[:6], b[22:28] == mac[18:24], socket.inet_ntoa(b[28:32]))
os.write(f, mac[18:24] + me + b"\x08\0" + ipv4("10.7.3.2", "10.7.3.1", 1, echo(8, b"tap!")))
while True:
    select.select([f], [], [], 20); b = os.read(f, 2000)
    if b[12:14] == b"\x08\0" and b[23] == 1: break
print(len(b), b[-4:])
# Persistent.
attempt("persist", lambda: fcntl.ioctl(f, TUNSETPERSIST, 1))
os.close(f)
sh("ip -br link show tap0 | grep -o '<.*>'")
sh("mount -t sysfs none /sys; ip tuntap list; ip link set tap0 down; ip -d link show tap0 | grep -o 'tun type.*persist on'; ip tuntap del tap0 mode tap; ip -br link | cut -d' ' -f1; ip tuntap add t9 mode tun; ip -br link | cut -d' ' -f1; ip link del t9")
f = opened()
def drop():
    os.setgid(1); os.setuid(1); attempt("as nobody", lambda: setiff(f, b"n0", TUN))
if os.fork() == 0: drop(); os._exit(0)
os.wait()
