# What routes and options say of connections shows in their packets: ip-route(8), ip(7), tcp(7).
import errno, os, socket, struct, subprocess

def run(*words):
    subprocess.run(" ".join(words).split(), check=True)

run("ip link set lo up")
run("ip link add a0 address 02:00:00:00:00:0a type veth peer name b0")
run("ip link set a0 up")
run("ip link set b0 up")
run("ip addr add 10.8.0.1/24 dev a0")
run("ip addr add fd08::1/64 dev a0 nodad")
run("ip neigh replace 10.8.0.2 lladdr 02:00:00:00:00:0b dev a0 nud permanent")
run("ip neigh replace fd08::2 lladdr 02:00:00:00:00:0b dev a0 nud permanent")
for net, what in (("1", "advmss 1000"), ("2", "hoplimit 7"), ("3", "features ecn"), ("4", "mtu 1200"), ("5", "initcwnd 3 congctl reno"), ("6", "rto_min 50ms quickack 1")):
    run("ip route add 198.18.%s.0/24 via 10.8.0.2 %s" % (net, what))
run("ip route add 198.18.9.0/24 via 10.8.0.2")
run("ip -6 route add fd18::/64 via fd08::2 hoplimit 9 advmss 1100")
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
tap.bind(("b0", 3))
tap.settimeout(20)

def options(t):
    out, b = [], t[20:(t[12] >> 4) * 4]
    while b:
        if b[0] == 1: b = b[1:]; continue
        if b[0] == 0: break
        out.append((b[0], b[2:b[1]])); b = b[b[1]:]
    return dict(out)

def syn(to, prepare=None, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setblocking(False)
    if prepare: prepare(s)
    s.connect_ex((to, 80))
    want = socket.inet_pton(family, to)
    while True:
        b = tap.recv(2000)
        if b[12:14] == b"\x08\x00" and family == socket.AF_INET and b[30:34] == want and b[23] == 6:
            ip = b[14:]; n = (ip[0] & 15) * 4; t = ip[n:]
            return s, "ttl %d options %s flags %02x mss %d" % (ip[8], ip[20:n].hex(), t[13], struct.unpack("!H", options(t)[2])[0])
        if b[12:14] == b"\x86\xdd" and family == socket.AF_INET6 and b[38:54] == want and b[20] in (0, 6):
            t = b[54:]; first = b[20]
            if first == 0: t = t[8 + 8 * t[1]:]
            return s, "hops %d next %d flags %02x mss %d" % (b[21], first, t[13], struct.unpack("!H", options(t)[2])[0])

for net in "12349":
    print(net, syn("198.18.%s.7" % net)[1])
print(6, syn("fd18::7", family=socket.AF_INET6)[1])
syn("198.18.5.7")
# options of IP on a connection
print("nops", syn("198.18.9.8", lambda s: s.setsockopt(0, 4, b"\x01\x01\x01\x00"))[1])
def router_alert(s):
    s.setsockopt(0, 4, b"\x94\x04\x00\x00")
    print("set", s.getsockopt(0, 4, 40).hex())
print("alert", syn("198.18.9.9", router_alert)[1])
def hops(s): s.setsockopt(41, 54, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
print("hop-by-hop", syn("fd18::8", hops, socket.AF_INET6)[1])
# bounds of timers
for option in (44, 45, 46):
    s = socket.socket()
    for v in (1, 16000, 100000, 300000):
        try: s.setsockopt(6, option, v); print(option, v, s.getsockopt(6, option))
        except OSError as e: print(option, v, errno.errorcode[e.errno])
