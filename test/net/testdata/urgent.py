# Urgent bytes as tcp(7) and RFC 6093 have them: urgent.py both | send HOST | take HOST.
# take listens, connects nothing, and prints what it finds; send does as take asks.
import errno, fcntl, os, select, signal, socket, struct, sys, time

OOB, PEEK, WAITALL, DONTWAIT = 1, 2, 0x100, 0x40


def send(host):
    s, control = socket.create_connection((host, 7001)), socket.create_connection((host, 7001))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for line in control.makefile():
        for data, flags in eval(line):
            while data:
                data = data[s.send(data, flags):]
        control.send(b".")


def take(host):
    l = socket.create_server((host, 7001))
    print("ready", flush=True)
    (s, _), (control, _) = l.accept(), l.accept()
    signals = []
    signal.signal(signal.SIGURG, lambda n, frame: signals.append(n))
    fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())
    edge = select.epoll()
    edge.register(s, select.EPOLLPRI | select.EPOLLET)

    def do(*sends):
        control.send((repr(sends) + "\n").encode())
        control.recv(1)

    def until(what, condition):
        end = time.time() + 30
        while not condition():
            if time.time() > end:
                sys.exit("never " + what)
            time.sleep(0.002)

    def mark(): return struct.unpack("i", fcntl.ioctl(s, 0x8905, bytes(4)))[0]
    def waiting(): return struct.unpack("i", fcntl.ioctl(s, 0x541B, bytes(4)))[0]

    def events():
        p = select.poll()
        p.register(s, select.POLLIN | select.POLLPRI)
        return sum(e for _, e in p.poll(0))

    def recv(n, flags=0):
        try:
            return s.recv(n, flags)
        except OSError as e:
            return errno.errorcode[e.errno]

    print("none", recv(1, OOB), mark(), waiting())
    do((b"ab", 0), (b"cU", OOB), (b"de", 0))
    until("urgent", lambda: events() == 3 and waiting() == 3 and recv(10, PEEK) == b"abc")
    until("signalled", lambda: signals)
    print("one", mark(), [e for _, e in edge.poll(20)], edge.poll(0), recv(1, OOB | PEEK), recv(1, OOB), events(), recv(1, OOB), recv(10), mark(), waiting())
    until("all", lambda: recv(10, PEEK) == b"de")
    print("behind", mark(), events(), recv(10), mark(), waiting())

    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    do((b"xI", OOB), (b"y", 0))
    until("inline", lambda: waiting() == 3)
    print("inline", mark(), events(), recv(1, OOB), recv(10), mark(), recv(10, PEEK), mark(), recv(10), mark(), events())
    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)

    do((b"1A", OOB), (b"2B", OOB), (b"3", 0))
    until("twice", lambda: waiting() == 3)
    print("twice", recv(10), mark(), recv(1, OOB), mark(), recv(10), mark())

    do((b"ab", 0), (b"cU", OOB), (b"de", 0))
    until("urgent", lambda: waiting() == 3 and events() & 2)
    print("wait for all", recv(6, WAITALL), mark(), recv(2, WAITALL), mark())

    do((b"U", OOB))
    until("alone", lambda: events() & 2)
    print("alone", events(), waiting(), mark(), recv(10, DONTWAIT), mark(), recv(1, OOB), events())

    do((b"V", OOB))
    until("urgent", lambda: events() & 2)
    print("at the mark", recv(1, OOB), mark())
    do((b"wX", OOB))
    until("urgent", lambda: events() & 2)
    print("the next", recv(10), mark(), recv(1, OOB), mark(), recv(1, DONTWAIT), mark())

    do((b"l" * 40000, 0), (b"!", OOB), (b"m" * 40000, 0))
    until("urgent", lambda: events() & 2)
    n = 0
    while not mark():
        n += len(s.recv(1 << 20))
    print("large", n, recv(1, OOB), s.recv(1), len(s.recv(39999, WAITALL)), recv(1, DONTWAIT))

    fcntl.fcntl(s, fcntl.F_SETOWN, 0)
    signals.clear()
    do((b"U", OOB))
    until("urgent", lambda: events() & 2)
    time.sleep(0.05)
    print("no owner", signals)
    control.close()
    s.setblocking(True)
    print("end", recv(10), recv(10), recv(1, OOB), mark())


if sys.argv[1] == "both":
    r, w = os.pipe()
    if os.fork() == 0:
        os.dup2(w, 1)
        take("127.0.0.1")
        os._exit(0)
    os.close(w)
    f = os.fdopen(r)
    print(f.readline(), end="")
    send("127.0.0.1")
    print(f.read(), end="")
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
{"send": send, "take": take}[sys.argv[1]](sys.argv[2])
