# Tables of three families, chains of every hook, priorities by name and number.
nft -f - <<'R'
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state invalid counter drop
		ct state { established, related } accept
		iifname "lo" accept
		iif lo ip saddr != 127.0.0.0/8 drop
		ip protocol icmp icmp type { echo-request, destination-unreachable } limit rate 4/second accept
		meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, nd-router-advert, echo-request } accept
		tcp dport { 22, 80, 443, 8000-8100 } ct state new accept
		udp dport 53 udp sport > 1023 accept comment "names"
		meta pkttype broadcast drop
		tcp flags syn tcp option maxseg size set 1400
		tcp flags & (fin | syn | rst | ack) == syn counter packets 0 bytes 0
		log prefix "refused: " level info flags all
		log group 2 queue-threshold 3 prefix "g"
		reject with icmpx type port-unreachable
		ip6 daddr fe80::/10 reject with icmpv6 type admin-prohibited
		ip saddr 10.0.0.0/8 reject with tcp reset
		ip daddr 10.1.1.1-10.1.1.20 reject
	}
	chain forward {
		type filter hook forward priority filter + 10; policy accept;
		meta mark 0x1 jump side
		ct mark set meta mark
		meta mark set ct mark
		goto side
	}
	chain output {
		type filter hook output priority 0; policy accept;
		meta skuid 0 counter accept
		meta skgid { 1, 2, 100-200 } drop
		ip daddr @blocked reject with icmp type host-prohibited
		oifname "eth*" drop
		oifname { "eth0", "lo" } accept
		fib daddr type local accept
		rt ip nexthop 10.0.0.1 accept
		ip ttl < 5 drop
		ip dscp cs1 accept
		ip dscp set cs3
		ip6 hoplimit 255 accept
		ip length 20-60 accept
		tcp option mss exists accept
		meta length > 1000 accept
		meta time > "2020-01-01 00:00:00" accept
		meta day "Monday" accept
		meta hour "10:00"-"12:00" accept
		@th,0,16 53 accept
		ip6 nexthdr tcp accept
		exthdr frag exists drop
		tcp dport vmap { 1-5 : accept, 6 : drop, 7 : jump side }
		ct status dnat accept
		ct direction reply accept
		ct original ip saddr 10.0.0.1 accept
		meta l4proto tcp ct original proto-dst 80 accept
		ct l3proto ipv4 accept
		ct protocol tcp accept
		ct expiration > 30s accept
		ct id 12345 accept
	}
	chain side {
		return
	}
	set blocked {
		type ipv4_addr
		flags interval
		elements = { 192.0.2.1, 198.51.100.0/24 }
	}
}
table ip raw {
	chain pre {
		type filter hook prerouting priority raw;
		udp dport 53 notrack
		fib saddr . iif oif missing drop
	}
	chain route {
		type route hook output priority mangle;
		meta mark set 0x10
	}
}
table ip6 t6 {
	chain post { type filter hook postrouting priority srcnat; policy accept; }
	chain in { type filter hook input priority security; policy accept; }
}
R
echo rc=$?
nft -a list ruleset
nft list tables
nft list chains
nft list chain inet filter side
nft list sets
nft -n list table ip raw
nft -j list table ip6 t6
