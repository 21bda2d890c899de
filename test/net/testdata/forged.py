# A datagram that a program has arrive by a TUN interface, and that is sent on: by its
# virtio-net header the checksum is to be written over the port that it goes to.
import fcntl, os, struct, subprocess, sys, time

def sh(s): subprocess.run(s, shell=True, check=True)

source, to, named, meant = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
f = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(f, 0x400454ca, struct.pack("16sH22x", b"t0", 0x1001 | 0x4000))  # IFF_VNET_HDR
sh("ip addr add 10.7.0.1/24 dev t0; ip link set t0 up; echo 1 >/proc/sys/net/ipv4/ip_forward")

def total(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while n >> 16: n = (n & 0xffff) + (n >> 16)
    return n

def packet(payload):
    udp = struct.pack("!4H", 7, named, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, *(bytes(map(int, a.split("."))) for a in (source, to)))
    return ip[:10] + struct.pack("!H", 0xffff - total(ip)) + ip[12:], udp

def send(flags, start, offset, payload):
    os.write(f, struct.pack("=BBHHHH", flags, 0, 0, 0, start, offset) + b"".join(packet(payload)))

_, udp = packet(b"over\0\0")
fill = ((0xffff - meant) - total(udp)) % 0xffff
for _ in range(20):
    send(1, 20, 2, b"over" + struct.pack("!H", fill))
    send(0, 0, 0, b"plainly")
    time.sleep(0.05)
