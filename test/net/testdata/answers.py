# What a host answers to packets that no honest stack sends, as nmap and hping send them: run with
# "serve" on the one side and "probe" on the other.
import select, socket, struct, sys, time

IN4, OUT4, IN6, OUT6 = "10.98.0.1", "10.98.0.2", "fd98::1", "fd98::2"

if sys.argv[1] == "serve":
    l = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
    small.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    small.bind(("0.0.0.0", 81))
    small.listen()
    print("ready", flush=True)
    sys.stdin.read()
    sys.exit()

def add(b):
    n = 0
    for i in range(0, len(b) & ~1, 2):
        n += b[i] << 8 | b[i + 1]
    if len(b) & 1:
        n += b[-1] << 8
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff

def ip4(proto, body, options=b""):
    h = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 77, 0, 64, proto, 0,
                    socket.inet_aton(OUT4), socket.inet_aton(IN4)) + options
    return h[:10] + struct.pack("!H", add(h)) + h[12:] + body

def ip6(proto, body, label=0):
    return struct.pack("!IHBB", 6 << 28 | label, len(body), proto, 64) + socket.inet_pton(socket.AF_INET6, OUT6) + socket.inet_pton(socket.AF_INET6, IN6) + body

def pseudo(six, proto, n):
    if six:
        return ip6(0, b"")[8:40] + struct.pack("!IHBB", n, 0, 0, proto)
    return socket.inet_aton(OUT4) + socket.inet_aton(IN4) + struct.pack("!HH", proto, n)

port = 30000
def tcp(six, dport, flags, options=b"", window=1024, urgent=0):
    global port
    port += 1
    h = struct.pack("!HHIIBBHHH", port, dport, 1000, 0, 5 + len(options) // 4 << 4, flags, window, 0, urgent) + options
    h = h[:16] + struct.pack("!H", add(pseudo(six, 6, len(h)) + h)) + h[18:]
    return ip6(6, h) if six else ip4(6, h)

def icmp(six, kind, code, rest):
    h = struct.pack("!BBH", kind, code, 0) + rest
    s = add((pseudo(True, 58, len(h)) if six else b"") + h)
    return h[:2] + struct.pack("!H", s) + h[4:]

raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
sniff = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sniff.bind(("eth0", 3))

labels = {}
def describe(b, what):
    if b[0] >> 4 == 4:
        n, proto, head = (b[0] & 15) * 4, b[9], "ttl %d df %d tos %#x" % (b[8], b[6] >> 6 & 1, b[1])
    else:
        n, proto = 40, b[6]
        label = struct.unpack("!I", b[:4])[0] & 0xfffff
        labels.setdefault(what, []).append(label)
        head = "hops %d label %d" % (b[7], label != 0)
    t = b[n:]
    if proto == 6:
        size = (t[12] >> 4) * 4
        options, out, i = t[20:size], [], 0
        while i < len(options) and options[i]:
            if options[i] == 1:
                out.append("nop")
                i += 1
                continue
            v = options[i + 2:i + options[i + 1]]
            # A scale is what the kernel's largest buffer needs, if nobody has set it.
            out.append("%d" % options[i] + (":" + v.hex() if options[i] == 2 or options[i] == 3 and "small" in what else ""))
            i += options[i + 1]
        return "%s tcp flags %#x window %d %s ack %d" % (head, t[13], struct.unpack("!H", t[14:16])[0], " ".join(out), struct.unpack("!I", t[8:12])[0])
    if proto == 58 and t[0] == 136:
        return head + " advertisement " + t[4:5].hex() + " %d" % len(t)
    rest = t[4:8].hex()
    if proto == 1 and t[0] == 14:
        times = struct.unpack("!III", t[8:20])
        return "%s timestamp %s %d %s" % (head, rest, times[0], times[1] == times[2] and times[1] < 86400000)
    return "%s icmp %d %d %s %d" % (head, t[0], t[1], rest, len(t))

def probe(what, packet, wait=2.0):
    while select.select([sniff], [], [], 0)[0]:
        sniff.recv(65535)
    six = packet[0] >> 4 == 6
    if six:
        raw6.sendto(packet, (IN6, 0))
    else:
        raw4.sendto(packet, (IN4, 0))
    end = time.time() + wait
    while time.time() < end:
        if not select.select([sniff], [], [], max(0, end - time.time()))[0]:
            break
        b, addr = sniff.recvfrom(65535)
        if addr[2] == 4 or addr[1] not in (0x800, 0x86dd):
            continue
        if b[0] >> 4 == 6 and (b[6] == 0 or b[6] == 58 and (b[40] in (133, 135) or b[40] == 136 and "neighbour" not in what)):
            continue # neighbours look for each other and for routers, and groups are joined
        print(what + ":", describe(b, what), flush=True)
        return
    print(what + ": nothing", flush=True)

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
stamps = b"\x03\x03\x07\x01\x02\x04\x05\xb4\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x04\x02"
for six in (False, True):
    name = "tcp6" if six else "tcp"
    for flags in (SYN, SYN | PSH, SYN | URG, SYN | FIN, SYN | FIN | URG | PSH, SYN | RST, SYN | ACK, ACK, FIN, 0, FIN | PSH | URG, RST, SYN | 0xc0, SYN | 0x40):
        quiet = 0.3 if flags in (SYN | FIN, SYN | FIN | URG | PSH, SYN | RST, FIN, 0, FIN | PSH | URG, RST) else 2
        probe("%s open %#x" % (name, flags), tcp(six, 80, flags), quiet)
        probe("%s closed %#x" % (name, flags), tcp(six, 82, flags), 0.3 if flags & RST else 2)
    probe(name + " with options", tcp(six, 80, SYN, stamps))
    probe(name + " mss 100", tcp(six, 80, SYN, b"\x02\x04\x00\x64"))
probe("tcp small", tcp(False, 81, SYN, stamps))
probe("tcp small without stamps", tcp(False, 81, SYN, b"\x02\x04\x05\xb4\x03\x03\x07\x00"))
for code in (0, 9):
    probe("echo %d" % code, ip4(1, icmp(False, 8, code, b"\0\7\0\1" + b"x" * 8)))
    probe("echo6 %d" % code, ip6(58, icmp(True, 128, code, b"\0\7\0\1" + b"x" * 8)))
probe("timestamp", ip4(1, icmp(False, 13, 0, b"\0\7\0\1" + struct.pack("!III", 5, 0, 0))))
probe("short timestamp", ip4(1, icmp(False, 13, 0, b"\0\7\0\1")), 0.3)
probe("mask", ip4(1, icmp(False, 17, 0, b"\0\7\0\1\0\0\0\0")), 0.3)
probe("information", ip4(1, icmp(False, 15, 0, b"\0\7\0\1")), 0.3)
for proto in (2, 4, 41, 47, 58, 99, 255):
    probe("protocol %d" % proto, ip4(proto, b"abcdefgh"), 0.3 if proto == 2 else 2)
    time.sleep(0.3) # such errors are limited
probe("udp", ip4(17, struct.pack("!HHHH", 9, 99, 12, 0) + b"abcd"))
pad = b"\1\4\0\0\0\0"
for what, body in (
        ("udp6", (17, None)), ("icmp over ip6", (1, b"abcdefgh")), ("protocol 99 over ip6", (99, b"abcdefgh")), ("igmp over ip6", (2, b"abcdefgh")),
        ("fragment that is cut off", (44, b"")), ("nothing behind", (59, b"")),
        ("behind options", (60, bytes([99, 0]) + pad + b"abcdefgh")), ("hop-by-hop first", (0, bytes([99, 0]) + pad + b"abcdefgh")),
        ("hop-by-hop in the middle", (60, bytes([0, 0]) + pad + bytes([58, 0]) + pad + icmp(True, 128, 0, b"\0\7\0\1"))),
        ("hop-by-hop behind a fragment", (44, bytes([0, 0, 0, 0, 0, 0, 0, 9]) + bytes([58, 0]) + pad + icmp(True, 128, 0, b"\0\7\0\1"))),
        ("unknown option", (60, bytes([58, 0, 0x83, 4, 0, 0, 0, 0]) + icmp(True, 128, 0, b"\0\7\0\1")))):
    proto, b = body
    if b is None:
        b = struct.pack("!HHHH", 9, 99, 12, 0) + b"abcd"
        b = b[:6] + struct.pack("!H", add(pseudo(True, 17, len(b)) + b)) + b[8:]
    probe(what, ip6(proto, b), 0.3 if proto == 59 else 2)
    time.sleep(0.6)
ns = icmp(True, 135, 0, b"\0\0\0\0" + socket.inet_pton(socket.AF_INET6, IN6))
p = bytearray(ip6(58, ns))
p[7] = 255
probe("neighbour", bytes(p))
print("labels differ:", len({l for ls in labels.values() for l in ls}) > 10)

# Timestamps tell nothing of when the host started: those of two connections have no offset in common.
def stamp():
    c = tcp(False, 80, SYN, stamps)
    raw4.sendto(c, (IN4, 0))
    end = time.time() + 2
    while time.time() < end and select.select([sniff], [], [], 1)[0]:
        b, addr = sniff.recvfrom(2000)
        if addr[2] != 4 and b[0] >> 4 == 4 and b[9] == 6 and b[33] == 0x12 and b[22:24] == c[20:22]:
            t = b[40:]
            return struct.unpack("!I", t[t.index(b"\x08\x0a") + 2:][:4])[0]
seen = sorted(stamp() for _ in range(6))
print("stamps apart:", seen[-1] - seen[0] > 100000)
