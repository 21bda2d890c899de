# Named and anonymous sets, maps, intervals, concatenations, verdict maps, objects.
nft -f - <<'R'
table ip s {
	set hosts { type ipv4_addr; comment "some hosts"; elements = { 10.0.0.1, 10.0.0.2 comment "two" }; }
	set nets { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/24, 10.0.1.0/24, 172.16.0.0-172.16.0.9 }; }
	set ports { type inet_service; flags constant; elements = { 1, 2, 3 }; }
	set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.1 . 80, 10.0.0.2 . 443 }; }
	set ranges { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/24 . 80-90, 10.1.0.1-10.1.0.5 . 443 }; }
	set timed { type ipv4_addr; flags timeout; timeout 1h; gc-interval 30s; }
	set seen { type ipv4_addr; size 128; flags dynamic,timeout; timeout 5m; }
	set sized { type ether_addr; size 10; policy memory; elements = { 02:00:00:00:00:01 }; }
	set marks { type mark; elements = { 1, 2 }; }
	set names { type ifname; elements = { "lo", "eth0" }; }
	set of { typeof tcp dport; elements = { 22, 23 }; }
	set counted { type ipv4_addr; counter; elements = { 10.9.9.9 counter packets 3 bytes 180 }; }
	map where { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.80, 443 : 10.0.0.43 }; }
	map wide { type ipv4_addr : mark; flags interval; elements = { 10.0.0.0/8 : 5, 192.168.0.0/16 : 6 }; }
	map verdicts { type ipv4_addr : verdict; elements = { 10.0.0.1 : accept, 10.0.0.2 : jump a, 10.0.0.3 : goto b }; }
	map targets { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { 10.0.0.1 . 80 : 10.0.0.2 . 8080 }; }
	counter hits { packets 5 bytes 300; }
	counter other { comment "other"; }
	quota most { over 25 mbytes; }
	limit slow { rate 10/second burst 20 packets; }
	limit slower { rate over 1024 bytes/second; }
	map objects { type ipv4_addr : counter; elements = { 10.0.0.1 : "hits", 10.0.0.2 : "other" }; }
	chain a { }
	chain b { accept; }
	chain in {
		type filter hook input priority 0;
		ip saddr @hosts accept
		ip saddr != @nets drop
		tcp dport @ports accept
		ip saddr . tcp dport @pairs accept
		ip saddr . tcp dport @ranges accept
		ip saddr vmap @verdicts
		meta mark set ip saddr map @wide
		counter name "hits"
		counter name ip saddr map @objects
		quota name "most" drop
		limit name "slow" accept
		limit rate over 10 mbytes/second burst 1 mbytes drop
		quota 10 mbytes accept
		ct count over 20 reject
		add @seen { ip saddr timeout 1m }
		update @seen { ip saddr limit rate 10/second } accept
		delete @timed { ip saddr }
		ip saddr vmap { 10.0.0.1 : accept, 10.0.0.2 : drop, * : continue }
		ip saddr { 10.0.0.1, 10.0.0.3-10.0.0.9, 10.1.0.0/16 } accept
		ip saddr . ip daddr { 10.0.0.1 . 10.0.0.2, 10.0.0.3 . 10.0.0.4 } accept
		meta mark { 1, 3-7 } accept
		meta mark set jhash ip saddr mod 4 seed 0xabcd offset 2
		meta mark set numgen inc mod 3
		meta mark set numgen random mod 3 offset 10
		meta mark set symhash mod 2
		meta mark set meta mark and 0xff00 or 0x1
		ct mark set ct mark xor 0x7
		meta mark set meta mark lshift 8
	}
}
R
echo rc=$?
nft list ruleset
nft add element ip s hosts '{ 10.0.0.7, 10.0.0.8 }'
nft delete element ip s hosts '{ 10.0.0.1 }'
nft add element ip s nets '{ 10.0.2.0/24 }'
nft add element ip s verdicts '{ 10.0.0.9 : drop }'
nft add element ip s timed '{ 10.0.0.9 timeout 2h expires 1h59m }' && nft list set ip s timed | grep -c 'timeout 2h'
nft get element ip s nets '{ 10.0.0.77 }'
nft get element ip s hosts '{ 10.9.0.77 }' 2>&1 | head -1
nft list set ip s hosts
nft list set ip s nets
nft list map ip s verdicts
nft list set ip s counted
nft flush set ip s hosts
nft list set ip s hosts
nft list counters
nft list quotas
nft list limits
nft reset counter ip s hits
nft list counter ip s hits
nft add element ip s hosts '{ 1.1.1.1, 1.1.1.1 }' ; echo rc=$?
nft create element ip s hosts '{ 1.1.1.1 }' 2>&1 | head -1
nft delete set ip s hosts 2>&1 | head -1
nft delete chain ip s a 2>&1 | head -1
nft delete counter ip s hits 2>&1 | head -1
nft delete counter ip s nobody 2>&1 | head -1
nft add element ip s ports '{ 4 }' 2>&1 | head -1
