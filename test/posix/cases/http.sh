# needs: python3
# A server and a client exchange 100 MiB through the loopback, both ways of
# naming it, and it arrives intact.
d=$(mktemp -d); cd "$d" || exit
/usr/bin/python3 -c '
import random
random.seed(1)
open("data", "wb").write(random.randbytes(1 << 20) * 100)'
want=$(sha256sum <data)
for addr in 127.0.0.1 ::1; do
	: >log # the last server's port is not this one's
	/usr/bin/python3 -u -m http.server --bind $addr 0 >log 2>&1 & p=$!
	while ! grep -q 'port [0-9]' log; do sleep 0.05; done
	port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' log)
	got=$(/usr/bin/python3 - $addr "$port" <<'E'
import sys, hashlib, http.client
c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]))
c.request("GET", "/data")
r = c.getresponse()
h = hashlib.sha256()
while b := r.read(1 << 17):
    h.update(b)
print(h.hexdigest(), " -")
c.request("GET", "/none")
E
)
	[ "$want" = "$got" ] && echo "$addr intact" || echo "$addr $want $got"
	{ kill $p; wait $p; } 2>/dev/null; echo "server $?"
done
cd / && rm -r "$d"
