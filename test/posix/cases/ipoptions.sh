# needs: python3
# Options of IPv4 and extension headers of IPv6: set, sent in control messages, received.
/usr/bin/python3 - <<'END'
import errno, struct
from socket import *
import socket

def E(f, *args):
    try:
        r = f(*args)
        return 'ok' if r is None else repr(r)
    except OSError as e:
        return errno.errorcode.get(e.errno, repr(e))

def show(control):
    # of a time there is only that it was written
    return [(level, kind, (data[:4] if data[:1] == b'D' else data).hex()) for level, kind, data in control]

RECORD = bytes([7, 11, 4]) + bytes(9)
TIME = bytes([68, 12, 5, 0]) + bytes(8)
r = socket.socket(AF_INET, SOCK_DGRAM)
r.bind(('127.0.0.1', 0))
r.settimeout(5)
r.setsockopt(IPPROTO_IP, 6, 1)  # IP_RECVOPTS
r.setsockopt(IPPROTO_IP, 7, 1)  # IP_RETOPTS
raw = socket.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
raw.settimeout(5)
s = socket.socket(AF_INET, SOCK_DGRAM)
for options in RECORD, TIME, b'\x94\x04\0\0', b'\1\1\1\0', b'\x82\3\0\0', b'\7\7\6....\0', bytes(41), b'\7', b'':
    print(options.hex(), E(s.setsockopt, IPPROTO_IP, 4, options), E(s.getsockopt, IPPROTO_IP, 4, 44))
    s.sendto(b'hello', r.getsockname())
    data, control, flags, _ = r.recvmsg(100, 500)
    print(data, show(control), flags)
print(E(s.sendmsg, [b'once'], [(IPPROTO_IP, 7, RECORD)], 0, r.getsockname()), show(r.recvmsg(100, 500)[1]))
print(E(s.sendmsg, [b'never'], [(IPPROTO_IP, 7, bytes(41))], 0, r.getsockname()))
raw.setsockopt(IPPROTO_IP, 4, bytes([7, 23, 4]) + bytes(21))
echo = struct.pack('!BBHHH', 8, 0, 0xf7ff - 0x3ff6, 0x3ff6, 0)
raw.sendto(echo, ('127.0.0.1', 0))
for _ in range(2):
    p = raw.recv(200)
    n = (p[0] & 15) * 4
    print(p[n], p[20:n].hex())

r = socket.socket(AF_INET6, SOCK_DGRAM)
r.bind(('::1', 0))
r.settimeout(5)
for name in 53, 56, 58:  # IPV6_RECVHOPOPTS, IPV6_RECVRTHDR, IPV6_RECVDSTOPTS
    r.setsockopt(IPPROTO_IPV6, name, 1)
HOP, DST = bytes([0, 0, 5, 2, 0, 0, 1, 0]), bytes([0, 0, 1, 4, 0, 0, 0, 0])
s = socket.socket(AF_INET6, SOCK_DGRAM)
for name in 54, 59, 55:  # IPV6_HOPOPTS, IPV6_DSTOPTS, IPV6_RTHDRDSTOPTS
    print(name, *(E(s.setsockopt, IPPROTO_IPV6, name, v) + E(s.getsockopt, IPPROTO_IPV6, name, 64) for v in (HOP, DST, bytes(3), bytes(9), b'\0\1' + bytes(6), b'')))
def through(data):
    s.sendto(data, r.getsockname())
    data, control, _, _ = r.recvmsg(70000, 500)
    print(len(data), show(control))
s.setsockopt(IPPROTO_IPV6, 54, HOP)
through(b'a')
s.setsockopt(IPPROTO_IPV6, 59, DST)
through(b'b')
through(bytes(60000))
s.setsockopt(IPPROTO_IPV6, 54, b'')
through(b'c')
s.setsockopt(IPPROTO_IPV6, 59, b'')
through(b'd')
for name, value in (54, HOP), (59, DST), (54, b'\0\0'):
    sent = E(s.sendmsg, [b'e'], [(IPPROTO_IPV6, name, value)], 0, r.getsockname())
    print(name, sent, show(r.recvmsg(10, 500)[1]) if sent == '1' else '')
old = socket.socket(AF_INET6, SOCK_DGRAM)
old.bind(('::1', 0))
old.settimeout(5)
old.setsockopt(IPPROTO_IPV6, 3, 1)  # IPV6_2292HOPOPTS
s.sendmsg([b'f'], [(IPPROTO_IPV6, 54, HOP)], 0, old.getsockname())
print(show(old.recvmsg(10, 500)[1]))
print(E(s.getsockopt, IPPROTO_IPV6, 61, 32))  # IPV6_PATHMTU
s.connect(r.getsockname())
print(struct.unpack('I', s.getsockopt(IPPROTO_IPV6, 61, 32)[28:]))
END
