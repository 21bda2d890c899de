# What iptables(8) says to the filter, mangle and raw tables; its both back ends.
for v in nft legacy; do
echo "== $v"
t=iptables-$v
e() { echo "+ $*"; $t "$@" 2>&1; r=$?; [ $r = 0 ] || echo "rc=$r"; }
e -P FORWARD DROP
e -N SIDE
e -A INPUT -i lo -j ACCEPT
e -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
e -A INPUT -m state --state INVALID -j DROP
e -A INPUT -p tcp -m tcp --dport 22 -m comment --comment "a comment" -j ACCEPT
e -A INPUT -p tcp --syn -m multiport --dports 80,443,8000:8100 -j ACCEPT
e -A INPUT -p udp -m multiport --ports 53 -j ACCEPT
e -A INPUT ! -p tcp ! -s 10.0.0.0/8 ! -d 10.1.0.0/16 ! -i eth0 -j SIDE
e -A INPUT -p icmp --icmp-type echo-request -m limit --limit 1/s --limit-burst 3 -j ACCEPT
e -A INPUT -p icmp --icmp-type 3/4 -j ACCEPT
e -A INPUT -p tcp --tcp-flags ALL NONE -j DROP
e -A INPUT -p tcp --tcp-option 2 -j DROP
e -A INPUT -p tcp --sport 1:1023 ! --dport 5 -j DROP
e -A INPUT -m addrtype --dst-type BROADCAST -j DROP
e -A INPUT -m addrtype --src-type LOCAL --limit-iface-in -j DROP
e -A INPUT -m pkttype --pkt-type multicast -j DROP
e -A INPUT -m mac --mac-source 02:00:00:00:00:01 -j DROP
e -A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP
e -A INPUT -m length --length 100:200 -j DROP
e -A INPUT -m ttl --ttl-lt 5 -j DROP
e -A INPUT -m mark --mark 0x1/0xff -j DROP
e -A INPUT -m connmark --mark 0x2 -j DROP
e -A INPUT -m connlimit --connlimit-above 10 --connlimit-mask 24 -j REJECT
e -A INPUT -m dscp --dscp 0x10 -j DROP
e -A INPUT -m tos --tos 0x10 -j DROP
e -A INPUT -m string --string "bad thing" --algo bm --to 1000 -j DROP
e -A INPUT -m quota --quota 1000 -j ACCEPT
e -A INPUT -m conntrack --ctstate NEW --ctproto tcp --ctorigdst 10.0.0.1 --ctorigdstport 80 -j ACCEPT
e -A INPUT -f -j DROP
e -A INPUT -j LOG --log-prefix "in: " --log-level 6 --log-uid
e -A INPUT -j NFLOG --nflog-prefix x --nflog-group 3
e -A INPUT -p tcp -j REJECT --reject-with tcp-reset
e -A INPUT -j REJECT --reject-with icmp-host-prohibited
e -A OUTPUT -m owner --uid-owner 1000 -j ACCEPT
e -A OUTPUT -m owner ! --gid-owner 5-9 -j DROP
e -A OUTPUT -m owner --socket-exists -j ACCEPT
e -A OUTPUT -o eth+ -g SIDE
e -A SIDE -j RETURN
e -A FORWARD -m statistic --mode random --probability 0.25 -j ACCEPT
e -A FORWARD -m statistic --mode nth --every 3 --packet 1 -j ACCEPT
e -A FORWARD
e -I INPUT 2 -s 1.2.3.4 -j DROP
e -R INPUT 2 -s 1.2.3.5 -j DROP
e -C INPUT -s 1.2.3.5 -j DROP
e -C INPUT -s 1.2.3.6 -j DROP
e -D INPUT -s 1.2.3.5 -j DROP
e -D INPUT 1
e -t mangle -A PREROUTING -p tcp -j MARK --set-mark 0x5
e -t mangle -A PREROUTING -j MARK --set-xmark 0x4000/0x4000
e -t mangle -A PREROUTING -j CONNMARK --save-mark
e -t mangle -A OUTPUT -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff
e -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
e -t mangle -A POSTROUTING -j TTL --ttl-set 64
e -t mangle -A POSTROUTING -j DSCP --set-dscp 0x08
e -t mangle -A POSTROUTING -j CLASSIFY --set-class 1:2
e -t mangle -A POSTROUTING -p udp -j CHECKSUM --checksum-fill
e -t mangle -A POSTROUTING -j TOS --set-tos 0x10
e -t raw -A PREROUTING -p udp -j CT --notrack
e -t raw -A OUTPUT -p udp -j NOTRACK
e -t raw -A OUTPUT -j TRACE
e -t security -A INPUT -j ACCEPT
e -S
e -t mangle -S
e -t raw -S
e -L -n
e -L INPUT -n -v --line-numbers
e -X SIDE
e -F SIDE
e -D INPUT -j SIDE
e -E SIDE BESIDE
e -Z
e -A INPUT -j NOBODY
e -A INPUT -p tcp -j REDIRECT --to-ports 5
e -t nat -A PREROUTING -j MASQUERADE
e -N LOOP
e -A LOOP -j BESIDE
e -A BESIDE -j LOOP
e -A INPUT -j LOOP
iptables-$v-save | grep -v '^#'
iptables-$v-save -c -t mangle | grep -v '^#'
$t-save 2>/dev/null | $t-restore --test; echo rc=$?
$t-save 2>/dev/null > /tmp/saved.$$; $t -F; $t -t mangle -F; $t-restore < /tmp/saved.$$; echo rc=$?
$t-save | grep -v '^#' | md5sum
printf '*filter\n:INPUT DROP [5:500]\n:X - [0:0]\n[7:700] -A INPUT -s 9.9.9.9/32 -j X\nCOMMIT\n' | $t-restore -c -n; echo rc=$?
$t-save -c | grep -e '9.9.9.9' -e ':INPUT'
printf '*filter\n-A INPUT -s 9.9.9.8/32 -j NOBODY\nCOMMIT\n' | $t-restore -n 2>/dev/null; echo rc=$?
for tab in filter mangle raw security; do $t -t $tab -F; $t -t $tab -X; done
done
cat /proc/net/ip_tables_names | sort
