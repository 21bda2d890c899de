# Rules of routing: ip-rule(8), SO_MARK and IP_UNICAST_IF.
ip link set lo up
for i in 0 1 2; do
	ip link add a$i type veth peer name b$i
	ip link set a$i up; ip link set b$i up
	ip addr add 10.8.$i.1/24 dev a$i
	ip route add default via 10.8.$i.254 table 10$i
	ip neigh replace 10.8.$i.254 lladdr 02:00:00:00:00:0$i dev a$i nud permanent
done
ip route add default via 10.8.0.254
ip rule add fwmark 1 table 101
ip rule add fwmark 0x20/0xf0 table 102 priority 1000
ip rule add from 10.8.2.1 table 102 priority 900
ip rule add to 198.51.100.0/24 table 101 priority 800
ip rule add iif a1 table 102 priority 700
ip rule add to 203.0.113.9 unreachable priority 600
ip rule add to 203.0.113.10 prohibit priority 601
ip rule add to 203.0.113.11 blackhole priority 602
ip rule add to 203.0.113.11 blackhole priority 602
ip -6 rule add fwmark 7 table 107 priority 50
ip rule; ip -6 rule
get() { ip route get "$@" 2>&1 | sed 's/ uid.*//; s/ cache.*//' | head -1; }
get 192.0.2.1
get 192.0.2.1 mark 1
get 192.0.2.1 mark 0x25
get 192.0.2.1 mark 0x35
get 192.0.2.1 from 10.8.2.1
get 198.51.100.7
get 203.0.113.9
get 203.0.113.10
get 203.0.113.11
cat > /tmp/policy.$$.py <<'PY'
import errno, socket, struct
taps = []
for i in range(3):
    p = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800)); p.bind(("b%d" % i, 0x800)); p.setblocking(False); taps.append(p)
def seen(what):
    import select
    while True:
        ready, _, _ = select.select(taps, [], [], 20)
        for p in ready:
            b = p.recv(2000)
            if b[16:20] == socket.inet_aton("192.0.2.1") or b[16:20] == socket.inet_aton("192.0.2.2"):
                print(what, "by", taps.index(p), "from", socket.inet_ntoa(b[12:16])); return
        if not ready: print(what, "lost"); return
def sent(what, mark=0, unicast=None, bind=None, to="192.0.2.1"):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if mark: u.setsockopt(socket.SOL_SOCKET, 36, mark); what += " %d" % u.getsockopt(socket.SOL_SOCKET, 36)
        if unicast: u.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", socket.if_nametoindex(unicast)))
        if bind: u.bind((bind, 0))
        u.sendto(b"x", (to, 9))
    except OSError as e:
        print(what, errno.errorcode[e.errno]); return
    seen(what)
sent("plain")
sent("marked", 1)
sent("masked", 0x2f)
sent("other mark", 3)
sent("bound", bind="10.8.2.1")
sent("nowhere", to="203.0.113.9")
sent("prohibited", to="203.0.113.10")
sent("swallowed", to="203.0.113.11")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: u.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", 99))
except OSError as e: print("no such interface", errno.errorcode[e.errno])
c = socket.socket(); c.setblocking(False); c.setsockopt(socket.SOL_SOCKET, 36, 1)
c.connect_ex(("192.0.2.2", 80)); seen("stream")
PY
python3 /tmp/policy.$$.py
rm /tmp/policy.$$.py
# As wg-quick(8) does: all but what the tunnel sends itself goes by the tunnel.
for p in 600 601 602 700 800 900 1000 32765; do ip rule del priority $p; done
ip rule add not fwmark 51820 table 102
ip rule add table main suppress_prefixlength 0
ip rule
get 192.0.2.1
get 192.0.2.1 mark 51820
get 10.8.1.7
ip rule del not fwmark 51820 table 102
ip rule del table main suppress_prefixlength 0
ip rule del fwmark 5 table 9
get 192.0.2.1
setpriv --reuid 1 --clear-groups python3 -c '
import socket
try: socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1)
except OSError as e: print(e.errno)'
