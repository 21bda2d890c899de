# What conntrack(8) shows of connections over the loopback: their states, and which are
# assured.
import re, socket, subprocess, time

def run(*args):
    return subprocess.run(args, capture_output=True, text=True).stdout

def show(what, *args):
    lines = [re.sub(r"(sport|dport)=([0-9]{5})\b", r"\1=N", re.sub(r"^(\w+ +\d+) \d+ ", r"\1 ", l)) for l in run("conntrack", "-L", *args).splitlines()]
    for line in sorted(lines):
        print(what, re.sub(r"  +", " ", line))

def until(state):
    end = time.monotonic() + 20
    while state not in run("conntrack", "-L", "-p", "tcp") and time.monotonic() < end:
        time.sleep(0.05)

subprocess.run(["nft", "-f", "-"], input="""table ip t {
	chain c { type filter hook input priority 0; ct state established accept; }
}
""", text=True, check=True)
l = socket.create_server(("127.0.0.1", 7000))
c = socket.create_connection(("127.0.0.1", 7000))
s, _ = l.accept()
c.send(b"x"); s.recv(1); s.send(b"y"); c.recv(1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 8000))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.connect(("127.0.0.1", 8000))
w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); w.connect(("127.0.0.1", 8000))
v.send(b"1"); show("asked")
d, a = u.recvfrom(9); u.sendto(b"2", a); v.recv(9); v.send(b"3"); u.recv(9)
w.send(b"alone"); u.recv(9)
show("answered")
time.sleep(2.2)
v.send(b"4"); u.recv(9)
show("a stream")
print(run("conntrack", "-L", "-u", "ASSURED").count("ASSURED"), "assured")
print(run("conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED").count("ESTABLISHED"), "established")
c.close(); until("CLOSE_WAIT"); show("half closed", "-p", "tcp")
s.close(); until("TIME_WAIT"); show("closed", "-p", "tcp")
