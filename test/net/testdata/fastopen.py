# TCP Fast Open, RFC 7413, as tcp(7) has it: fastopen.py serve | use V4 V6.
import errno, select, socket, struct, sys

FASTOPEN, FASTOPEN_CONNECT, MSG_FASTOPEN = 23, 30, 0x20000000


def syn_data(s): return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & 32


def serve():
    l = socket.create_server(("::", 7002), family=socket.AF_INET6, dualstack_ipv6=True)
    l.setsockopt(socket.IPPROTO_TCP, FASTOPEN, 8)
    print("ready", flush=True)
    while True:
        s, _ = l.accept()
        got = s.recv(100000)
        s.send(b"%d bytes, %d" % (len(got), syn_data(s)))
        s.close()


def call(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def use(v4, v6):
    def new(family=socket.AF_INET):
        return socket.socket(family)

    def end(s):
        s.setblocking(True)
        return s.recv(100), syn_data(s)

    for size in 100, 100, 1000, 20000:
        s = new()
        n = s.sendto(b"x" * size, MSG_FASTOPEN, (v4, 7002))
        print("sendto", size, n == size, end(s)[1], call(s.sendto, b"x", MSG_FASTOPEN, (v4, 7002)), call(s.sendto, b"x", MSG_FASTOPEN, ("0.0.0.0", 0)))
    s = new()
    s.setblocking(False)
    print("at once", call(s.sendto, b"hello", MSG_FASTOPEN, (v4, 7002)), end(s))
    for family, host in (socket.AF_INET, v4), (socket.AF_INET6, v6), (socket.AF_INET6, v6):
        s = new(family)
        s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
        s.setblocking(False)
        e = s.connect_ex((host, 7002))
        p = select.poll()
        p.register(s)
        print("connect", errno.errorcode.get(e, e), e and p.poll(20000) and 0 or p.poll(0)[0][1])
        if e:
            s.send(b"hello")
        else:
            print("deferred", call(s.getpeername), call(s.recv, 1), call(s.connect, (host, 7002)), s.send(b"hello"))
        print("then", end(s), s.getpeername()[:2])
    s = new()
    s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
    print("never used", s.connect_ex((v4, 7002)), s.close())
    print("refused", call(new().sendto, b"x", MSG_FASTOPEN, (v4, 7003)))
    s = new()
    s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
    print("refused later", s.connect_ex((v4, 7003)), call(s.send, b"x"))
    print("nowhere", call(new().sendmsg, [b"x"], [], MSG_FASTOPEN), call(socket.socket(socket.AF_UNIX).sendmsg, [b"x"], [], MSG_FASTOPEN))
    s = new(socket.AF_INET6)
    s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
    print("taken back", s.connect_ex((v6, 7002)), call(s.shutdown, socket.SHUT_WR))


if sys.argv[1] == "serve":
    serve()
use(*sys.argv[2:])
