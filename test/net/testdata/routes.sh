# Routes with several ways, with metrics and by objects, and rules by more than addresses:
# ip-route(8), ip-nexthop(8), ip-rule(8).
refused() { "$@" >/dev/null 2>&1 && echo "NOT REFUSED: $*" || echo "refused: $*"; }
say() { echo "+ $*"; "$@" 2>&1 | sed 's/ *$//'; }
get() { echo "get $*"; ip route get "$@" 2>&1 | sed 's/ uid.*//; s/ cache.*//; s/ *$//' | head -1; }
ip link set lo up
for i in 0 1; do
	ip link add a$i address 02:00:00:00:00:0$i type veth peer name b$i
	ip link set a$i up; ip link set b$i up
	ip addr add 10.8.$i.1/24 dev a$i
	ip addr add fd08:$i::1/64 dev a$i nodad
	for n in 2 3; do ip neigh replace 10.8.$i.$n lladdr 02:00:00:00:01:$i$n dev a$i nud permanent; done
done
# metrics
ip route add 198.18.1.0/24 via 10.8.0.2 mtu lock 1300 advmss 1000 initcwnd 20 initrwnd 5 rto_min 10ms quickack 1 window 3000 rtt 20ms rttvar 10ms hoplimit 7 ssthresh 9 reordering 5 features ecn congctl reno
ip route add 198.18.2.0/24 via 10.8.0.2 mtu 1280 tos 0x10
ip route add 198.18.2.0/24 via 10.8.1.2
ip route add 198.18.3.0/24 via 192.0.2.9 dev a0 onlink
ip route add 198.18.4.0/24 via inet6 fd08:1::2 dev a1
refused ip route add 198.18.5.0/24 via 192.0.2.9
refused ip route add 198.18.5.0/24 via 192.0.2.9 dev a0
# several ways
ip route add 198.18.6.0/24 nexthop via 10.8.0.2 weight 3 nexthop via 10.8.1.2
ip -6 route add fd18:6::/64 nexthop via fd08:0::2 nexthop via fd08:1::2 weight 2
refused ip route add 198.18.7.0/24 nexthop via 192.0.2.9 nexthop via 10.8.1.2
# kinds
ip route add blackhole 198.18.8.0/24; ip route add prohibit 198.18.9.0/24; ip route add unreachable 198.18.10.0/24 metric 5
ip route add throw 198.18.11.0/24 table 100; ip route add 198.18.11.0/24 dev a1; ip route add default via 10.8.0.3 table 100
ip route add local 198.18.12.0/24 dev lo
ip -6 route add unreachable fd18:8::/64; ip -6 route add fd18:9::/64 dev a1 metric 5 mtu 1400 advmss 1200 hoplimit 9
say ip route; say ip route show table 100; ip -6 route show | grep fd18 | sed 's/ *$//'
ip route show table local | grep 198.18 | sed 's/ *$//'
get 198.18.1.1; get 198.18.2.1; get 198.18.2.1 tos 0x10; get 198.18.3.1; get 198.18.4.1; get 198.18.8.1; get 198.18.9.1; get 198.18.10.1; get 198.18.12.1
get fibmatch 198.18.1.1 | head -2; get fibmatch 198.18.2.9; get fibmatch 198.18.6.9; get fibmatch 198.18.77.1
ping -c1 -W20 198.18.12.7 | grep -c ttl=64
# both ways are taken
for n in $(seq 1 60); do ip route get 198.18.6.$n | grep -o 'dev a.'; done | sort -u
# objects
ip nexthop add id 1 via 10.8.0.2 dev a0
ip nexthop add id 2 via 10.8.1.2 dev a1 proto static
ip nexthop add id 3 group 1/2,7
ip nexthop add id 4 blackhole
ip nexthop add id 5 dev a1
ip -6 nexthop add id 6 via fd08:1::9 dev a1
refused ip nexthop add id 7 group 1/99
refused ip nexthop add id 1 via 10.8.0.3 dev a0
refused ip nexthop add id 8 via 192.0.2.7 dev a0
say ip nexthop
ip route add 198.18.20.0/24 nhid 1; ip route add 198.18.21.0/24 nhid 3; ip route add 198.18.22.0/24 nhid 4; ip -6 route add fd18:20::/64 nhid 6
refused ip route add 198.18.23.0/24 nhid 99
ip route show root 198.18.16.0/20 | sed 's/ *$//'; ip -6 route show fd18:20::/64 | sed 's/ *$//'
get 198.18.20.1; get 198.18.22.1
ip nexthop replace id 1 via 10.8.0.3 dev a0
get 198.18.20.1
ip nexthop del id 1
refused ip nexthop del id 1
say ip nexthop
ip route show root 198.18.16.0/20 | sed 's/ *$//'
# rules
ip rule add ipproto tcp dport 80 table 101 priority 100
ip rule add ipproto udp sport 1000-2000 dport 53 lookup 101 priority 101
ip rule add uidrange 1000-1999 table 101 priority 102
ip rule add tos 0x10 table 101 priority 103
ip rule add to 198.18.30.0/24 goto 200 priority 110
ip rule add to 198.18.31.0/24 goto 300 priority 111
ip rule add to 198.18.30.0/23 prohibit priority 120
ip rule add nop priority 200
ip rule add from all table main suppress_prefixlength 0 priority 210 protocol static
ip rule add not fwmark 51820 table 51820 priority 220
ip -6 rule add ipproto tcp dport 443 table 101 priority 100
refused ip rule add ipproto tcp dport 80 table 101 priority 100
refused ip rule add goto 50 priority 100
ip route add default via 10.8.1.3 table 101; ip route add default via 10.8.0.3; ip route add default via 10.8.1.9 table 51820
say ip rule; ip -6 rule | sed 's/ *$//'
get 192.0.2.1; get 192.0.2.1 ipproto tcp dport 80; get 192.0.2.1 ipproto tcp dport 81; get 192.0.2.1 ipproto udp sport 1500 dport 53; get 192.0.2.1 ipproto udp sport 999 dport 53
get 192.0.2.1 uid 1500; get 192.0.2.1 mark 51820; get 198.18.30.1; get 198.18.31.1; get 198.18.6.1 mark 51820
python3 -c '
import os, socket, errno
def via(port, uid=0):
    if uid: os.seteuid(uid)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM); s.setblocking(False)
    if uid: os.seteuid(0)
    s.connect_ex(("192.0.2.1", port)); return s.getsockname()[0]
print(via(80), via(81), via(81, 1500))'
ip rule del priority 110; ip rule del uidrange 1000-1999; ip rule del ipproto tcp dport 80
refused ip rule del ipproto tcp dport 80
say ip rule
ip link set a1 down
ip route | sed 's/ *$//' | grep -v 198.18.6
