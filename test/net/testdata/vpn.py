# A VPN of few words: what a TUN interface of one namespace sends goes by UDP over a pair of
# interfaces to another namespace, whose TUN interface gets it, and back.
import ctypes, fcntl, os, select, socket, struct, subprocess

libc = ctypes.CDLL(None)

def sh(s): subprocess.run(s, shell=True, check=True)

def end(here, there, address):
    f = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(f, 0x400454ca, struct.pack("16sH22x", b"vpn0", 0x1001))
    sh("ip addr add %s/24 dev vpn0; ip link set vpn0 mtu 1300 up" % address)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind((here, 4789))
    u.connect((there, 4789))
    child = os.fork()
    while child == 0:
        ready, _, _ = select.select([f, u], [], [])
        try:
            if f in ready: u.send(os.read(f, 2000))
            if u in ready: os.write(f, u.recv(2000))
        except OSError:
            pass
    return child

sh("mount -t tmpfs none /run; ip link set lo up; ip netns add far; ip -n far link set lo up")
sh("ip link add v0 type veth peer name v1 netns far; ip addr add 10.8.0.1/24 dev v0; ip link set v0 up")
sh("ip -n far addr add 10.8.0.2/24 dev v1; ip -n far link set v1 up")
home, far = (os.open(p, os.O_RDONLY) for p in ("/proc/self/ns/net", "/run/netns/far"))
ends = [end("10.8.0.1", "10.8.0.2", "10.7.0.1")]
libc.setns(far, 0)
ends.append(end("10.8.0.2", "10.8.0.1", "10.7.0.2"))
server = socket.create_server(("10.7.0.2", 7001))
libc.setns(home, 0)
sh("ping -c2 -i0.2 -W20 10.7.0.2 | grep -c ttl=64")
sent = os.urandom(1 << 20)
if (child := os.fork()) == 0:
    c = socket.create_connection(("10.7.0.2", 7001))
    c.sendall(sent)
    os._exit(0)
c, _ = server.accept()
got = b""
while b := c.recv(1 << 16): got += b
assert got == sent
os.waitpid(child, 0)
for p in ends: os.kill(p, 9)
print("carried")
