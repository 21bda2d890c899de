# The nat table, and both back ends' listing of it; then IPv6.
for v in nft legacy; do
t=iptables-$v
e() { echo "+ $*"; $t "$@" 2>&1; r=$?; [ $r = 0 ] || echo "rc=$r"; }
e -t nat -N REDIR
e -t nat -A PREROUTING -p tcp -j REDIR
e -t nat -A REDIR -p tcp -j REDIRECT --to-ports 15001
e -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2:8080
e -t nat -A PREROUTING -p udp --dport 80 -j DNAT --to-destination 10.0.0.2-10.0.0.9:8080-8090 --persistent
e -t nat -A PREROUTING -d 10.5.0.0/16 -j NETMAP --to 10.6.0.0/16
e -t nat -A OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN
e -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1000-2000 --random
e -t nat -A POSTROUTING -o eth0 -j MASQUERADE
e -t nat -A POSTROUTING -s 10.0.0.0/8 ! -o docker0 -p tcp -j MASQUERADE --to-ports 1024-2048 --random-fully
e -t nat -A POSTROUTING -j SNAT --to-source 192.0.2.1
e -t nat -A POSTROUTING -p tcp -j SNAT --to-source 192.0.2.1-192.0.2.8:1000-2000 --random
e -t nat -A INPUT -j SNAT --to-source 192.0.2.1
e -t nat -S
e -t nat -L -n -v
$t-save | grep -v '^#'
e -t nat -F
e -t nat -X
done
for v in nft legacy; do
t=ip6tables-$v
e() { echo "+ $*"; $t "$@" 2>&1; r=$?; [ $r = 0 ] || echo "rc=$r"; }
e -P INPUT DROP
e -A INPUT -i lo -j ACCEPT
e -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
e -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
e -A INPUT -s fe80::/10 -d ff02::/16 -p udp --dport 546 -j ACCEPT
e -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
e -A INPUT -p tcp -j REJECT --reject-with tcp-reset
e -A INPUT -j REJECT --reject-with icmp6-adm-prohibited
e -A OUTPUT -m owner --uid-owner 5 -j DROP
e -A FORWARD -m addrtype --dst-type LOCAL -j DROP
e -t mangle -A POSTROUTING -j HL --hl-set 64
e -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination [2001:db8::1]:8080
e -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15006
e -t nat -A POSTROUTING -j MASQUERADE
e -t nat -A POSTROUTING -p tcp -j SNAT --to-source 2001:db8::9
e -S
$t-save | grep -v '^#'
e -F
e -P INPUT ACCEPT
e -t mangle -F
e -t nat -F
done
nft list ruleset
