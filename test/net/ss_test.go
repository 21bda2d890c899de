package net_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"bulkhead/test/sandboxtest"
)

// connections is a program that makes connections of several kinds to an echo server,
// and prints what ss(8) says of them: the state, and which timer runs.
const connections = `
import socket, subprocess, sys, time
peer = ("` + outsideV4 + `", 7000)
def show(what, *more):
    out = subprocess.run(["ss", "-Htano", *more, "dst", peer[0]], capture_output=True, text=True).stdout
    for line in sorted(out.splitlines()):
        words = line.split()
        timer = [w.split("(")[1].split(",")[0] for w in words if w.startswith("timer:")]
        print(what, words[0], *timer)
    print(what, "orphans", subprocess.run(["ss", "-Htane", "state", "time-wait", "dst", peer[0]], capture_output=True, text=True).stdout.count("ino:0"))
def close(s): s.send(b"x"); s.recv(1); s.close()
def ended(how):
    # The peer's last two segments can change places on the way. Then our answer to
    # the second meets nobody, and the reset takes away what is in TIME-WAIT, in
    # Linux too: RFC 1337.
    for attempt in range(20):
        s = socket.create_connection(peer)
        port = s.getsockname()[1]
        how(s)
        for n in range(400):
            out = subprocess.run(["ss", "-Htan", "sport", "=", str(port)], capture_output=True, text=True).stdout
            if "TIME-WAIT" in out: return s
            if not out: break
            time.sleep(0.05)
closed = ended(close)
kept = socket.create_connection(peer)
kept.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
plain = socket.create_connection(peer)
half = ended(lambda s: s.shutdown(socket.SHUT_WR))
show("open")
print("maxseg", plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
kinds = [line.split()[3] for line in open("/proc/net/tcp").readlines()[1:] if line.split()[2].endswith(":1B58")]
print("table", *sorted(kinds))
info = subprocess.run(["ss", "-Htnoi", "state", "established", "dst", peer[0]], capture_output=True, text=True).stdout
for field in " ts ", " sack ", "wscale:", "rto:", "rtt:", "mss:", "pmtu:", "rcvmss:", "advmss:", "cwnd:", "segs_out:", "segs_in:", "lastrcv:", "rcv_space:", "minrtt:", "snd_wnd:":
    if field not in info: print("no", field, "in", info)
`

// destroyed has ss(8) end a connection, a listener and a datagram socket.
const destroyed = `
import socket, subprocess
peer = ("` + outsideV4 + `", 7000)
c = socket.create_connection(peer)
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(peer)
for more in (["-t", "dst", peer[0]], ["-lt", "sport", "=", str(l.getsockname()[1])], ["-u", "dst", peer[0]]):
    subprocess.run(["ss", "-K", *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for name, f in ("stream", lambda: c.recv(1)), ("listener", l.accept), ("datagrams", lambda: u.recv(1)):
    for s in c, l, u: s.settimeout(20)
    try: print(name, f())
    except OSError as e: print(name, e.strerror)
`

// ss shows in the sandbox what it shows outside, of sockets that no process has too.
func TestConnectionsShown(t *testing.T) {
	t.Parallel()
	needs(t, "ss", "python3")
	w := newWire(t)
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w.start(w.peer(prog, "echo", outsideV4+":7000"), "ready")
	host := w.run([]string{"ip", "netns", "exec", w.inside, "python3", "-c", connections})
	inside := w.run(w.sandbox(nil, "python3", "-c", connections))
	if host != inside {
		t.Errorf("host:\n%s\nsandbox:\n%s", host, inside)
	}
}

// ss -K ends sockets, which learn of it.
func TestDestroy(t *testing.T) {
	t.Parallel()
	needs(t, "ss", "python3")
	w := newWire(t)
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w.start(w.peer(prog, "echo", outsideV4+":7000"), "ready")
	out := strings.Split(w.run(w.sandbox(nil, "python3", "-c", destroyed)), "\n")
	for _, want := range []string{"stream Software caused connection abort", "datagrams Software caused connection abort"} {
		if !slices.Contains(out, want) {
			t.Errorf("there is no %q in %q", want, out)
		}
	}
	if !slices.ContainsFunc(out, func(l string) bool { return strings.HasPrefix(l, "listener ") && !strings.Contains(l, "timed out") }) {
		t.Errorf("the listener goes on: %q", out)
	}
	settled(t, func() bool { return w.established() == 0 })
	if n := w.established(); n != 0 {
		t.Errorf("the peer has %d connections still", n)
	}
}

// established counts the peer's connections to the sandbox.
func (w *wire) established() int {
	out, _ := exec.Command("ip", "netns", "exec", w.outside, "ss", "-Htn", "state", "established").Output()
	return strings.Count(string(out), insideV4)
}

// savedSyn is a server that says how the connection to it began, without what is chosen
// at random or counts.
const savedSyn = `
import socket
l = socket.create_server(("` + insideV4 + `", 7002))
l.setsockopt(socket.IPPROTO_TCP, 27, 1)
print("listens", flush=True)
s, peer = l.accept()
b = bytearray(s.getsockopt(socket.IPPROTO_TCP, 28, 200))
for at, n in (4, 2), (10, 2), (20, 2), (24, 4), (36, 2), (48, 4): b[at:at + n] = bytes(n)
print("syn", b.hex(), len(s.getsockopt(socket.IPPROTO_TCP, 28, 200)))
`

// TCP_SAVED_SYN tells what the same peer has sent in both places.
func TestSavedSyn(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	w := newWire(t)
	serve := []string{"python3", "-c", savedSyn}
	said := map[string]string{}
	for place, line := range map[string][]string{"host": append([]string{"ip", "netns", "exec", w.inside}, serve...), "sandbox": w.sandbox(nil, serve...)} {
		s := w.start(line, "listens")
		w.run(w.peer("python3", "-c", `import socket; socket.create_connection(("`+insideV4+`", 7002)).recv(1)`))
		<-s.ended
		said[place] = s.output()
	}
	if said["host"] != said["sandbox"] || !strings.Contains(said["host"], "syn 45") {
		t.Errorf("host %s\nsandbox %s", said["host"], said["sandbox"])
	}
}
