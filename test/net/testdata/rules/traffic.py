# What rules do to traffic over the loopback, told in lines that are the same
# wherever the packet filter is Linux's.
import errno, os, re, select, socket, struct, subprocess, sys, threading, time

def sh(text):
    r = subprocess.run(["sh", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode or r.stdout:
        print(r.stdout.strip(), "" if r.returncode == 0 else "status %d" % r.returncode)

def nft(rules):
    r = subprocess.run(["nft", "-f", "-"], input=rules.replace("} }", "}\n}"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        print("nft:", r.stdout)

def name(e):
    return errno.errorcode.get(e.errno, str(e)) if isinstance(e, OSError) and e.errno else type(e).__name__

def original(c):
    try:
        if c.family == socket.AF_INET:
            b = c.getsockopt(socket.SOL_IP, 80, 16)
            return "%s:%d" % (socket.inet_ntoa(b[4:8]), struct.unpack(">H", b[2:4])[0])
        b = c.getsockopt(socket.IPPROTO_IPV6, 80, 28)
        return "%s:%d" % (socket.inet_ntop(socket.AF_INET6, b[8:24]), struct.unpack(">H", b[2:4])[0])
    except OSError as e:
        return name(e)

def tcp_server(family, port):
    l = socket.socket(family, socket.SOCK_STREAM)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        l.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    l.bind(("", port)); l.listen(16)
    def run():
        while True:
            c, peer = l.accept()
            def talk(c=c, peer=peer):
                try:
                    c.sendall(("at %d from %s wanted %s\n" % (port, peer[0], original(c))).encode())
                    while c.recv(65536): pass
                except OSError: pass
                c.close()
            threading.Thread(target=talk, daemon=True).start()
    threading.Thread(target=run, daemon=True).start()

def udp_server(family, port):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        s.setsockopt(socket.SOL_IP, 12, 1)
        s.setsockopt(socket.SOL_IP, socket.IP_RECVTOS, 1)
    s.bind(("", port))
    def run():
        while True:
            b, control, _, peer = s.recvmsg(65536, 200)
            more = " ".join(str(v[0]) for _, _, v in control)
            s.sendto(("at %d from %s: %d bytes %s" % (port, peer[0], len(b), more)).encode(), peer)
    threading.Thread(target=run, daemon=True).start()

def fam(to): return socket.AF_INET6 if ":" in to else socket.AF_INET

def tcp(to, port, hold=None):
    c = socket.socket(fam(to), socket.SOCK_STREAM); c.settimeout(0.9) # before a SYN goes out again
    try:
        c.connect((to, port))
        c.settimeout(2)
        said = c.recv(200).decode().strip()
        print("tcp %s %d: %s; peer %s, mss %d" % (to, port, said, c.getpeername()[:2], min(struct.unpack('I', c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[16:20])[0], 2000)))
        if hold is not None: hold.append(c); return
    except OSError as e:
        print("tcp %s %d: %s" % (to, port, name(e)))
    c.close()

def udp(to, port, size=10, connected=True, times=1):
    s = socket.socket(fam(to), socket.SOCK_DGRAM); s.settimeout(0.9)
    for _ in range(times):
        try:
            if connected:
                s.connect((to, port)); s.send(b"x" * size)
            else:
                s.sendto(b"x" * size, (to, port))
            said, peer = s.recvfrom(65536)
            print("udp %s %d: %s; by %s" % (to, port, said.decode(), peer[:2]))
        except OSError as e:
            print("udp %s %d: %s" % (to, port, name(e)))
    s.close()

def as_user(uid, gid, what):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setgroups([]); os.setgid(gid); os.setuid(uid)
        what(); sys.stdout.flush(); os._exit(0)
    os.waitpid(pid, 0)

def ping(to):
    r = subprocess.run(["busybox", "ping", "-c", "1", "-W", "1", to], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print("ping", to, r.returncode)

scenes = []
def scene(f): scenes.append(f); return f

@scene
def redirect():
    nft("""table inet t { chain o { type nat hook output priority -100
        tcp dport 80 redirect to :8080
        udp dport 53 redirect to :8081
    }
}""")
    for to in "127.0.0.1", "::1", "127.0.0.9":
        tcp(to, 80); tcp(to, 8081); udp(to, 53); udp(to, 53, connected=False); udp(to, 8080)
    udp("127.0.0.1", 53, 30000)

@scene
def destination():
    nft("""table ip t { map m { type inet_service : ipv4_addr . inet_service; elements = { 81 : 127.0.0.3 . 8080, 82 : 127.0.0.4 . 8081 } }
      chain o { type nat hook output priority -100
        ip daddr 10.96.0.1 tcp dport 443 dnat to 127.0.0.1:8080
        ip daddr 10.96.0.1 meta l4proto udp dnat to 127.0.0.1:8081
        meta l4proto tcp dnat to tcp dport map @m
        tcp dport 83 dnat to numgen inc mod 2 map { 0 : 127.0.0.7, 1 : 127.0.0.8 }
      }
      chain p { type nat hook postrouting priority 100
        ip daddr 127.0.0.3 snat to 127.0.0.33
        ip daddr 127.0.0.4 tcp dport 8081 masquerade
      }
}""")
    for port in 443, 444: tcp("10.96.0.1", port)
    udp("10.96.0.1", 7); udp("10.96.0.1", 9, connected=False)
    for port in 81, 82: tcp("127.0.0.1", port)
    for _ in range(4): tcp("127.0.0.1", 83)

@scene
def denied():
    """What a rule drops on its way out fails, that very call and no other."""
    nft("table inet t { chain out { type filter hook output priority 0; udp dport 9001 drop; }; }")
    for to in "127.0.0.1", "::1":
        s = socket.socket(fam(to), socket.SOCK_DGRAM)
        for port in 9000, 9001, 9001, 9002:
            try: print("denied", to, port, s.sendto(b"x", (to, port)))
            except OSError as e: print("denied", to, port, name(e))

@scene
def owner():
    for cmd in "iptables-nft", "iptables-legacy":
        sh(cmd + """ -t nat -A OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN
            %s -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 8080
            %s -A OUTPUT -m owner --gid-owner 50-60 -j REJECT --reject-with icmp-host-prohibited""" % (cmd, cmd))
        for uid, gid in (0, 0), (1337, 7), (5, 55):
            as_user(uid, gid, lambda: (tcp("127.0.0.1", 80), udp("127.0.0.1", 8080)))
        sh(cmd + " -t nat -F; " + cmd + " -F")
    nft("""table inet t { chain o { type filter hook output priority 0
        meta skuid 5 tcp dport 8080 reject with tcp reset
        meta skuid != 0 udp dport 8080 drop
        meta skgid { 7, 8 } tcp dport 8081 reject with icmpx admin-prohibited
    }
}""")
    for uid, gid in (0, 0), (5, 7):
        as_user(uid, gid, lambda: (tcp("127.0.0.1", 8080), tcp("127.0.0.1", 8081), udp("::1", 8080), udp("127.0.0.1", 8080, connected=False)))

@scene
def states():
    nft("""table inet t {
      chain i { type filter hook input priority 0; policy drop
        ct state established,related counter accept
        ct state invalid counter drop
        tcp dport 8080 ct state new accept
        udp dport 8080 accept
        icmp type echo-request accept
        icmpv6 type echo-request accept
      }
      chain o { type filter hook output priority 0
        ct state new counter name "new"
        ct state established counter name "old"
        ct direction reply udp sport 8080 counter name "reply"
      }
      counter new {}
      counter old {}
      counter reply {}
    }""")
    for to in "127.0.0.1", "::1":
        tcp(to, 8080); tcp(to, 8081); udp(to, 8080, times=2); udp(to, 8081); ping(to)
    sh("nft list counter inet t reply")
    udp("127.0.0.1", 9)
    nft("""table ip raw { chain o { type filter hook output priority raw; udp dport 8081 notrack; udp sport 8081 notrack; }
      chain i { type filter hook input priority -10; ct state untracked accept; }
}""")
    udp("127.0.0.1", 8081)
    nft("add rule inet t i ct state untracked accept")
    udp("127.0.0.1", 8081)

@scene
def refusals():
    for how in "tcp reset", "icmp port-unreachable", "icmp host-unreachable", "icmp net-unreachable", "icmp prot-unreachable", "icmp admin-prohibited", "icmp host-prohibited", "icmpx admin-prohibited", "icmpx no-route":
        for hook in "input", "output":
            nft("flush ruleset; table inet t { chain c { type filter hook %s priority 0; meta l4proto { tcp%s } th dport 8080 reject with %s; } }" % (hook, "" if how == "tcp reset" else ", udp", how))
            print(hook, how)
            tcp("127.0.0.1", 8080)
            if how != "tcp reset": udp("127.0.0.1", 8080)
            tcp("127.0.0.1", 8081)
    for how in "tcp reset", "icmpv6 port-unreachable", "icmpv6 admin-prohibited", "icmpv6 no-route", "icmpv6 addr-unreachable":
        for hook in "input", "output":
            nft("flush ruleset; table ip6 t { chain c { type filter hook %s priority 0; meta l4proto { tcp%s } th dport 8080 reject with %s; } }" % (hook, "" if how == "tcp reset" else ", udp", how))
            print(hook, how)
            if how == "tcp reset": tcp("::1", 8080) # with the others Linux waits for the next SYN
            if how != "tcp reset": udp("::1", 8080)
    for cmd in "iptables-nft", "iptables-legacy":
        sh("nft flush ruleset; " + cmd + " -A INPUT -p tcp --dport 8080 -j REJECT --reject-with tcp-reset; " + cmd + " -A INPUT -p udp -m udp --dport 8080 -j REJECT; "
            + cmd + " -A OUTPUT -p udp --dport 8081 -j DROP")
        tcp("127.0.0.1", 8080); udp("127.0.0.1", 8080); udp("127.0.0.1", 8081); tcp("127.0.0.1", 8081)
        sh(cmd + " -S; " + cmd + " -F")

@scene
def counting():
    nft("""table inet t {
      set seen { type ipv4_addr . inet_service; size 100; flags dynamic; counter; }
      set v { type inet_service; elements = { 8080 } }
      quota q { 500 bytes; }
      chain o { type filter hook output priority 0
        udp dport 8080 counter
        udp dport 8080 add @seen { ip daddr . udp dport }
        udp dport vmap { 8080 : jump a, 8081 : goto b }
        udp dport @v meta length > 100 counter
        udp dport 8081 counter comment "never"
      }
      chain a { counter; return; counter; }
      chain b { limit rate 1/minute burst 2 packets counter accept; counter drop; }
    }""")
    udp("127.0.0.1", 8080, 72, times=3); udp("127.0.0.1", 8080, 73); udp("127.0.0.2", 8080)
    udp("127.0.0.1", 8081, times=4)
    sh("nft list table inet t")

@scene
def iptables_matches():
    for cmd in "iptables-nft", "iptables-legacy":
        print(cmd)
        def rule(r, table="filter"): sh("%s -t %s -F; %s -t %s -A %s" % (cmd, table, cmd, table, r))
        rule("OUTPUT -p udp -m multiport --dports 1:8,8080 -j DROP"); udp("127.0.0.1", 8080); udp("127.0.0.1", 8081)
        rule("OUTPUT -p udp --dport 8080 -m statistic --mode nth --every 3 --packet 1 -j DROP"); udp("127.0.0.1", 8080, times=6)
        rule("OUTPUT -p udp --dport 8080 -m limit --limit 1/min --limit-burst 2 -j DROP"); udp("127.0.0.1", 8080, times=4)
        rule("OUTPUT -p udp --dport 8080 -m recent --name r%s --rdest --update --seconds 60 --hitcount 3 -j DROP" % cmd)
        sh(cmd + " -A OUTPUT -p udp --dport 8080 -m recent --name r%s --rdest --set" % cmd); udp("127.0.0.1", 8080, times=5); udp("127.0.0.2", 8080)
        rule("OUTPUT -p udp --dport 8080 -m hashlimit --hashlimit-above 1/min --hashlimit-burst 2 --hashlimit-mode dstip --hashlimit-name h%s -j DROP" % cmd)
        udp("127.0.0.1", 8080, times=3); udp("127.0.0.2", 8080, times=3)
        rule("OUTPUT -p udp -m addrtype --dst-type LOCAL -m length --length 100: -j DROP"); udp("127.0.0.1", 8080, 71); udp("127.0.0.1", 8080, 72)
        rule("OUTPUT -m iprange --dst-range 127.0.0.5-127.0.0.6 -j DROP"); udp("127.0.0.4", 8080); udp("127.0.0.5", 8080)
        rule("OUTPUT -p udp -m string --string needle --algo bm -j DROP"); udp("127.0.0.1", 8080)
        rule("INPUT -p tcp --syn --dport 8080 -m connlimit --connlimit-above 2 -j REJECT --reject-with tcp-reset")
        held = []
        for _ in range(3): tcp("127.0.0.1", 8080, held)
        for c in held: c.close()
        time.sleep(0.2)
        tcp("127.0.0.1", 8080)
        rule("INPUT -m mark --mark 0x5/0xf -j REJECT")
        rule("OUTPUT -p udp --dport 8080 -j MARK --set-mark 0x25", "mangle"); udp("127.0.0.1", 8080); udp("127.0.0.1", 8081)
        rule("OUTPUT -p udp -j TTL --ttl-set 9", "mangle"); udp("127.0.0.1", 8080)
        rule("OUTPUT -p udp -j DSCP --set-dscp 0x0a", "mangle"); udp("127.0.0.1", 8080)
        rule("OUTPUT -p udp -j TOS --set-tos 0x1c", "mangle"); udp("127.0.0.1", 8080)
        rule("OUTPUT -p tcp --syn -j TCPMSS --set-mss 555", "mangle"); tcp("127.0.0.1", 8080)
        sh("; ".join("%s -t %s -F" % (cmd, t) for t in ("filter", "mangle")))

@scene
def rewriting():
    nft("""table inet t { chain o { type route hook output priority mangle
        meta l4proto udp ip dscp set cs3
        udp dport 8080 ip ttl set 7
        udp dport 8081 @th,16,16 set 8080
        ip6 nexthdr udp ip6 hoplimit set 9
        tcp flags syn tcp option maxseg size set 600
    }
}""")
    udp("127.0.0.1", 8080); udp("127.0.0.1", 8080, 1001); udp("::1", 8080); tcp("127.0.0.1", 8080); tcp("::1", 8080)

@scene
def policy():
    nft("table ip t { chain i { type filter hook input priority 0; policy drop; iif lo udp sport 8080 accept; udp dport 8080 accept; } }")
    udp("127.0.0.1", 8080); udp("127.0.0.1", 8081); tcp("127.0.0.1", 8080); tcp("::1", 8080); ping("127.0.0.1")
    nft("table ip t { flags dormant; }")
    udp("127.0.0.1", 8081); ping("127.0.0.1")
    nft("flush ruleset")
    tcp("127.0.0.1", 8080)

for family in socket.AF_INET, socket.AF_INET6:
    for port in 8080, 8081:
        tcp_server(family, port); udp_server(family, port)
sh("ip link set lo up; ip route replace 10.96.0.0/16 dev lo src 127.0.0.1")
for f in scenes:
    if len(sys.argv) > 1 and f.__name__ not in sys.argv[1:]: continue
    print("==", f.__name__)
    try: f()
    except Exception as e: print(type(e).__name__, e)
    nft("flush ruleset")
