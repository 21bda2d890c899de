# needs: python3
# Rings of packet sockets in each layout, and what of datagrams on the loopback is in them.
/usr/bin/python3 - <<'END'
import errno, mmap, select, struct, time
from socket import *
import socket

ETH_P_IP, SOL_PACKET = 0x0800, 263
RX_RING, STATISTICS, VERSION, HDRLEN, RESERVE = 5, 6, 10, 11, 12

def E(f, *args):
    try:
        r = f(*args)
        return 'ok' if r is None else repr(r)
    except OSError as e:
        return errno.errorcode.get(e.errno, repr(e))

def ours(packet): return len(packet) >= 28 and packet[9] == 17 and packet[28:32] == b'ring'

def show(m, at, mac, net, snap, length, status):
    packet = m[at + net:at + mac + snap]
    if ours(packet):
        print(mac, net, snap, length, status & 1, packet[28:60], struct.unpack('!H', m[at + net - 2:at + net])[0] if mac != net else '')
        return 1
    return 0

def frames(version, kind, reserve):
    p = socket.socket(AF_PACKET, kind, 0)
    print('version', version, E(p.setsockopt, SOL_PACKET, VERSION, version), E(p.setsockopt, SOL_PACKET, RESERVE, reserve))
    block, blocks, frame = 1 << 16, 4, 2048
    req = struct.pack('IIII', block, blocks, frame, block // frame * blocks)
    if version == 2:
        req += struct.pack('III', 50, 32, 0)
    print(E(p.setsockopt, SOL_PACKET, RX_RING, req), E(p.setsockopt, SOL_PACKET, RX_RING, req), E(p.setsockopt, SOL_PACKET, VERSION, 1))
    m = mmap.mmap(p.fileno(), block * blocks)
    p.bind(('lo', ETH_P_IP))
    u = socket.socket(AF_INET, SOCK_DGRAM)
    u.bind(('127.0.0.1', 0))
    for n in 4, 20, 1500:
        u.sendto((b'ring%d' % n).ljust(n, b'.'), u.getsockname())
    poll = select.poll()
    poll.register(p, select.POLLIN)
    seen, at, end = 0, 0, time.time() + 10
    while seen < 3 and time.time() < end:
        poll.poll(1000)
        if version == 2:
            status, packets, first, used, sequence = struct.unpack_from('IIIIQ', m, at * block + 8)
            if not status & 1:
                continue
            where = at * block + first
            if m[at * block:at * block + 8] != struct.pack('II', 2, 48) or first != 80 or sequence != at + 1:
                print('block', m[at * block:at * block + 48].hex())
            for i in range(packets):
                step, _, _, snap, length, state, mac, net = struct.unpack_from('IIIIIIHH', m, where)
                seen += show(m, where, mac, net, snap, length, state)
                if (step == 0) != (i == packets - 1):
                    print('frame', i, 'of', packets, 'next', step)
                where += step
            struct.pack_into('I', m, at * block + 8, 0)
            at = (at + 1) % blocks
            continue
        where = at * frame
        if version == 0:
            state, length, snap, mac, net = struct.unpack_from('QIIHH', m, where)
        else:
            state, length, snap, mac, net = struct.unpack_from('IIIHH', m, where)
        if not state & 1:
            continue
        seen += show(m, where, mac, net, snap, length, state)
        struct.pack_into('Q' if version == 0 else 'I', m, where, 0)
        at = (at + 1) % (block // frame * blocks)
    print(seen, len(p.getsockopt(SOL_PACKET, STATISTICS, 16)))
    m.close()
    print(E(p.setsockopt, SOL_PACKET, RX_RING, bytes(28 if version == 2 else 16)))

for version in 0, 1, 2:
    frames(version, SOCK_RAW, 0)
    frames(version, SOCK_DGRAM, 8)
p = socket.socket(AF_PACKET, SOCK_RAW, 0)
print(E(p.setsockopt, SOL_PACKET, VERSION, 3), E(p.setsockopt, SOL_PACKET, VERSION, -1))
p.setsockopt(SOL_PACKET, VERSION, 2)
for req in (1 << 16, 4, 2048, 127, 0, 0, 0), (1 << 16, 4, 64, 4096, 0, 0, 0), (4097, 4, 2048, 8, 0, 0, 0), (4096, 1, 2048, 2, 0, 4000, 0), (4096, 1, 2048, 2, 0, 100, 0):
    print(req, E(p.setsockopt, SOL_PACKET, RX_RING, struct.pack('7I', *req)))
END
