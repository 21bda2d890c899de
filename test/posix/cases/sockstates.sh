# needs: python3
# What sockets answer in each state that they can be in, on the loopback.
/usr/bin/python3 - <<'END'
import ctypes, errno, fcntl, re, select, signal, struct, time
from socket import *
import socket
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
libc = ctypes.CDLL(None, use_errno=True)

def E(f, *args):
    try:
        r = f(*args)
        return 'ok' if r is None else re.sub(r"', \d{2,}", "', N", repr(r))
    except OSError as e:
        return errno.errorcode.get(e.errno, repr(e))

def poll(s):
    p = select.poll()
    p.register(s, 0x3dff)
    r = p.poll(0)
    return hex(r[0][1]) if r else '0'

def state(s): return s.getsockopt(IPPROTO_TCP, TCP_INFO, 8)[0]
def error(s): return errno.errorcode.get(s.getsockopt(SOL_SOCKET, SO_ERROR), 0)
def ioctl(s, request): return E(lambda: struct.unpack('i', fcntl.ioctl(s, request, bytes(4)))[0])
INQ, OUTQ, ATMARK = 0x541B, 0x5411, 0x8905
def until(there):
    """Waits for what another socket's call brings about: on the loopback it takes a moment."""
    end = time.monotonic() + 20
    while not there() and time.monotonic() < end: time.sleep(0.002)
SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE = 2, 4, 5, 7
def failed(s): return int(poll(s), 16) & select.POLLERR
def unspec(s, n=28): return libc.connect(s.fileno(), bytes(n), n)

def pair(family, host):
    l = socket.socket(family, SOCK_STREAM)
    l.bind((host, 0))
    l.listen(5)
    c = socket.socket(family, SOCK_STREAM)
    c.connect(l.getsockname()[:2])
    a, _ = l.accept()
    l.close()
    return c, a

def states(family, host):
    s = socket.socket(family, SOCK_STREAM)
    print('fresh', poll(s), state(s), E(s.accept), E(s.recv, 1), E(s.send, b'x'))
    s.bind((host, 0))
    print('bound', poll(s), state(s), E(s.bind, (host, 0)))
    s.listen(1)
    print('listening', poll(s), state(s), E(s.recv, 1, MSG_DONTWAIT), E(s.send, b'x'), E(s.connect, (host, 1)), ioctl(s, INQ), ioctl(s, OUTQ), E(s.getpeername))
    print('again', E(s.listen, 5), E(s.listen, -1), E(s.shutdown, 1), state(s), E(s.shutdown, 0), state(s), poll(s), E(s.accept), E(s.listen, 5), state(s))
    s = socket.socket(family, SOCK_STREAM)
    print('refused', E(s.connect, (host, 1)), poll(s), error(s), state(s), E(s.recv, 1), E(s.send, b'x'), E(s.connect, (host, 1)))
    s = socket.socket(family, SOCK_STREAM)
    s.setblocking(False)
    print('in the background', E(s.connect, (host, 1)))
    until(lambda: state(s) != SYN_SENT)
    print(poll(s), state(s), E(s.getpeername), error(s), error(s), poll(s), E(s.connect, (host, 1)), E(s.connect, (host, 1)))
    until(lambda: state(s) != SYN_SENT)
    print(poll(s), E(s.connect, (host, 1)), poll(s), E(s.recv, 1))

def halves(family, host):
    c, a = pair(family, host)
    print('connected', poll(c), state(c), ioctl(c, INQ), ioctl(c, OUTQ), ioctl(c, ATMARK), E(c.connect, (host, 9)), E(c.listen, 1), E(c.accept), E(c.bind, (host, 0)))
    print(E(c.sendto, b'abc', (host, 7)), E(a.recv, 2, MSG_PEEK), E(a.recv, 100, MSG_PEEK), len(a.recv(2, MSG_TRUNC)), ioctl(a, INQ), E(a.recv, 100))
    print(E(c.send, b''), E(a.recv, 0), E(a.recv, 1, MSG_DONTWAIT), E(a.recv, 1, MSG_OOB), E(a.recv, 1, MSG_ERRQUEUE))
    print('urgent', E(c.send, b'ab', MSG_OOB), poll(a), ioctl(a, INQ), ioctl(a, ATMARK), E(a.recv, 1, MSG_OOB | MSG_PEEK), E(a.recv, 9, MSG_OOB), E(a.recv, 9, MSG_OOB))
    print(E(a.recv, 9), ioctl(a, ATMARK), poll(a), E(a.recv, 1, MSG_DONTWAIT))
    print('shut', E(c.shutdown, 1), poll(c), E(c.send, b'x'), poll(a), E(a.recv, 5), E(a.recv, 5), E(a.send, b'hello'))
    until(lambda: ioctl(c, INQ) == '5')
    print(poll(c), E(c.recv, 9), E(a.shutdown, 0), poll(a), E(a.shutdown, 1))
    until(lambda: state(c) not in (FIN_WAIT1, FIN_WAIT2) and state(a) == CLOSE)
    print(state(c), poll(a), poll(c), E(a.send, b'x'), E(c.recv, 1), E(c.shutdown, 2), E(a.getpeername), error(a))
    c, a = pair(family, host)
    print('shut for reading', E(c.shutdown, 0), poll(c), E(c.recv, 1), a.send(b'xx'))
    until(lambda: ioctl(c, INQ) == '2')
    print(poll(c), E(c.recv, 5), E(c.recv, 5), ioctl(c, INQ), error(a))
    c, a = pair(family, host)
    c.send(b'data')
    until(lambda: ioctl(a, INQ) == '4')
    a.close()
    print('unread', poll(c), state(c), E(c.recv, 1), E(c.recv, 1), E(c.send, b'x'), E(c.getpeername), error(c))
    c, a = pair(family, host)
    a.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
    a.close()
    print('reset', poll(c), error(c), error(c), E(c.recv, 1), E(c.send, b'x'), state(c))
    c, a = pair(family, host)
    a.close()
    print('closed', poll(c), E(c.send, b'x'))
    until(lambda: state(c) == CLOSE)
    print(poll(c), state(c), E(c.send, b'x'), E(c.recv, 1), error(c))
    c, a = pair(family, host)
    print('taken apart', unspec(c), unspec(c, 1), E(c.getpeername), poll(a), E(a.recv, 1), E(c.connect, (host, 1)))

def datagrams(family, host, anyhost):
    u, v = socket.socket(family, SOCK_DGRAM), socket.socket(family, SOCK_DGRAM)
    print('datagrams', E(u.getsockname), poll(u), E(u.recv, 1, MSG_DONTWAIT), E(u.getpeername), E(u.send, b'x'), E(u.listen, 1), E(u.accept))
    u = socket.socket(family, SOCK_DGRAM)
    u.bind((host, 0))
    v.connect(u.getsockname()[:2])
    print(E(v.send, b''), poll(u), E(u.recv, 10), E(v.send, b'hello'), E(u.recv, 2), E(u.recv, 1, MSG_DONTWAIT))
    v.send(b'abcdef')
    print(len(u.recv(2, MSG_PEEK | MSG_TRUNC)), u.recvmsg(2)[:3], ioctl(u, INQ), ioctl(v, OUTQ), E(v.sendto, b'x', (host, 9)), E(u.recv, 1, MSG_OOB | MSG_DONTWAIT))
    for n in 65507, 65508, 65527, 65528, 70000:
        print(n, E(v.send, bytes(n)), len(u.recv(70000)) if n <= (65507 if family == AF_INET else 65527) else '')
    print('shut', E(v.shutdown, 1), E(v.send, b'x'), poll(v), E(v.shutdown, 0), poll(v), E(v.recv, 1), E(u.shutdown, 2), poll(u), E(u.recv, 1))
    v = socket.socket(family, SOCK_DGRAM)
    v.connect((host, 9))
    v.send(b'x')
    until(lambda: failed(v))
    print('nobody', poll(v), E(v.recv, 1), poll(v), E(v.recv, 1, MSG_DONTWAIT), v.send(b'x'))
    until(lambda: failed(v))
    print(error(v), error(v), E(v.send, b'x'))
    v = socket.socket(family, SOCK_DGRAM)
    v.connect((host, 9))
    print('names', E(v.getpeername), E(v.getsockname), unspec(v), unspec(v, 1), E(v.getpeername), E(v.getsockname))
    v = socket.socket(family, SOCK_DGRAM)
    v.bind((host, 0))
    v.connect((host, 9))
    print(unspec(v), E(v.getsockname), E(v.sendto, b'x', (host, 9)), v.getsockname()[1] != 0)
    v = socket.socket(family, SOCK_DGRAM)
    v.bind((anyhost, 0))
    print('any', E(v.sendto, b'x', (anyhost, v.getsockname()[1])), E(v.recv, 5), E(v.sendto, b'x', (host, 0)), E(v.connect, (host, 0)))
    for n in 0, 1, 2, 8, 16, 24, 28:
        for f in AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, 99:
            sa = struct.pack('H26x', f)
            out = []
            for kind in SOCK_STREAM, SOCK_DGRAM:
                for call in libc.bind, libc.connect:
                    s = socket.socket(family, kind)
                    out.append(errno.errorcode[ctypes.get_errno()] if call(s.fileno(), sa, n) < 0 else 'ok')
                if n > 0:
                    out.append(errno.errorcode[ctypes.get_errno()] if libc.sendto(s.fileno(), b'x', 1, 0, sa, n) < 0 else 'ok')
            print('address', n, f, *out)

def places(family):
    for host in ('0.0.0.0', '224.0.0.1', '127.255.255.255', '127.9.9.9') if family == AF_INET else ('::', 'ff02::1', 'fe80::1', '::ffff:127.0.0.1'):
        out = []
        for kind in SOCK_STREAM, SOCK_DGRAM:
            s = socket.socket(family, kind)
            out += [E(s.bind, (host, 0))]
            if host != '224.0.0.1':
                out += [E(socket.socket(family, kind).connect, (host, 9))]
        print(host, *out)

states(AF_INET, '127.0.0.1')
states(AF_INET6, '::1')
halves(AF_INET, '127.0.0.1')
halves(AF_INET6, '::1')
datagrams(AF_INET, '127.0.0.1', '0.0.0.0')
datagrams(AF_INET6, '::1', '::')
places(AF_INET)
places(AF_INET6)
END
