# Address translation.
nft -f - <<'R'
table ip nat {
	map services { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.2 . 8080, 81 : 10.0.0.3 . 8081 }; }
	map ports { type inet_service : inet_service; elements = { 80 : 8080 }; }
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 80 redirect to :8080
		tcp dport 81 redirect
		tcp dport 82 dnat to 10.0.0.2
		tcp dport 83 dnat to 10.0.0.2:8080
		tcp dport 84 dnat to 10.0.0.2-10.0.0.9:8080-8090 random
		tcp dport 85 dnat to 10.0.0.2:8080-8090 persistent
		dnat to tcp dport map @services
		meta l4proto tcp redirect to :tcp dport map @ports
		dnat to numgen inc mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.3 }
		dnat to jhash ip saddr mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.3 }
	}
	chain input { type nat hook input priority 100; policy accept; snat to 10.0.0.9; }
	chain output { type nat hook output priority -100; policy accept; ip daddr 10.96.0.1 dnat to 127.0.0.1; }
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth0" masquerade
		oifname "eth1" meta l4proto tcp masquerade to :1024-2048 random
		oifname "eth2" masquerade random,persistent
		ip saddr 10.0.0.0/8 snat to 192.0.2.1
		meta l4proto tcp ip saddr 10.0.0.0/8 snat to 192.0.2.1-192.0.2.9:1000-2000 fully-random
		snat ip prefix to ip saddr map { 10.141.11.0/24 : 192.168.2.0/24 }
	}
}
table ip6 nat {
	chain prerouting { type nat hook prerouting priority dstnat; tcp dport 80 dnat to [2001:db8::1]:8080; redirect; }
	chain postrouting { type nat hook postrouting priority srcnat; masquerade; snat to 2001:db8::1-2001:db8::9; }
}
table inet nat {
	chain output { type nat hook output priority -100; meta nfproto ipv4 dnat ip to 10.0.0.1; dnat ip6 to ::1; tcp dport 5 redirect to :6; }
	chain post { type nat hook postrouting priority srcnat; masquerade; ip saddr 10.0.0.1 snat ip to 1.2.3.4; }
}
R
echo rc=$?
nft -a list ruleset
