package procfs

import "strings"

// networkSettings are what is below /proc/sys/net that is one for all interfaces, by its
// path, with Linux's own defaults: Documentation/networking/ip-sysctl.rst. Network.Tune
// says which of them somebody goes by; the others are remembered. The range of groups
// that may make ping sockets is all, as container engines have it.
const networkSettings = `
n core/bpf_jit_enable 1
n core/busy_poll 0
n core/busy_read 0
w core/default_qdisc pfifo_fast
n core/dev_weight 64
n core/netdev_budget 300
n core/netdev_max_backlog 1000
n core/optmem_max 131072
n core/rmem_default 212992
n core/rmem_max 212992
n core/somaxconn 4096
n core/tstamp_allow_data 1
n core/txrehash 1
n core/wmem_default 212992
n core/wmem_max 212992
n ipv4/fib_multipath_hash_fields 7
n ipv4/fib_multipath_hash_policy 0
n ipv4/fib_multipath_use_neigh 0
n ipv4/fib_notify_on_flag_change 0
n ipv4/icmp_echo_enable_probe 0
n ipv4/icmp_echo_ignore_all 0
n ipv4/icmp_echo_ignore_broadcasts 1
n ipv4/icmp_errors_use_inbound_ifaddr 0
n ipv4/icmp_ignore_bogus_error_responses 1
n ipv4/icmp_msgs_burst 50
n ipv4/icmp_msgs_per_sec 1000
n ipv4/icmp_ratelimit 1000
n ipv4/icmp_ratemask 6168
n ipv4/igmp_link_local_mcast_reports 1
n ipv4/igmp_max_memberships 20
n ipv4/igmp_max_msf 10
n ipv4/igmp_qrv 2
n ipv4/inet_peer_maxttl 600
n ipv4/inet_peer_minttl 120
n ipv4/inet_peer_threshold 65664
n ipv4/ip_autobind_reuse 0
n ipv4/ip_default_ttl 64
n ipv4/ip_dynaddr 0
n ipv4/ip_early_demux 1
n ipv4/ip_forward 0
n ipv4/ip_forward_update_priority 1
n ipv4/ip_forward_use_pmtu 0
n ipv4/ip_local_port_range 32768 60999
w ipv4/ip_local_reserved_ports 
n ipv4/ip_no_pmtu_disc 0
n ipv4/ip_nonlocal_bind 0
n ipv4/ip_unprivileged_port_start 1024
n ipv4/ipfrag_high_thresh 4194304
n ipv4/ipfrag_low_thresh 3145728
n ipv4/ipfrag_max_dist 64
n ipv4/ipfrag_time 30
n ipv4/nexthop_compat_mode 1
n ipv4/ping_group_range 0 2147483647
n ipv4/route/min_adv_mss 256
n ipv4/route/min_pmtu 552
n ipv4/route/mtu_expires 600
n ipv4/tcp_abort_on_overflow 0
n ipv4/tcp_adv_win_scale 1
w ipv4/tcp_allowed_congestion_control reno cubic bbr
n ipv4/tcp_app_win 31
n ipv4/tcp_autocorking 1
r ipv4/tcp_available_congestion_control reno cubic bbr
r ipv4/tcp_available_ulp 
n ipv4/tcp_backlog_ack_defer 1
n ipv4/tcp_base_mss 1024
n ipv4/tcp_challenge_ack_limit 2147483647
n ipv4/tcp_child_ehash_entries 0
n ipv4/tcp_comp_sack_delay_ns 1000000
n ipv4/tcp_comp_sack_nr 44
n ipv4/tcp_comp_sack_slack_ns 100000
w ipv4/tcp_congestion_control cubic
n ipv4/tcp_dsack 1
n ipv4/tcp_early_demux 1
n ipv4/tcp_early_retrans 3
n ipv4/tcp_ecn 2
n ipv4/tcp_ecn_fallback 1
r ipv4/tcp_ehash_entries 65536
n ipv4/tcp_fack 0
n ipv4/tcp_fastopen 1
n ipv4/tcp_fastopen_blackhole_timeout_sec 0
n ipv4/tcp_fin_timeout 60
n ipv4/tcp_frto 2
n ipv4/tcp_invalid_ratelimit 500
n ipv4/tcp_keepalive_intvl 75
n ipv4/tcp_keepalive_probes 9
n ipv4/tcp_keepalive_time 7200
n ipv4/tcp_limit_output_bytes 4194304
n ipv4/tcp_max_orphans 65536
n ipv4/tcp_max_reordering 300
n ipv4/tcp_max_syn_backlog 1024
n ipv4/tcp_max_tw_buckets 65536
n ipv4/tcp_mem 93039 124052 186078
n ipv4/tcp_migrate_req 0
n ipv4/tcp_min_rtt_wlen 300
n ipv4/tcp_min_snd_mss 48
n ipv4/tcp_min_tso_segs 2
n ipv4/tcp_moderate_rcvbuf 1
n ipv4/tcp_mtu_probe_floor 48
n ipv4/tcp_mtu_probing 0
n ipv4/tcp_no_metrics_save 0
n ipv4/tcp_no_ssthresh_metrics_save 1
n ipv4/tcp_notsent_lowat 4294967295
n ipv4/tcp_orphan_retries 0
n ipv4/tcp_pacing_ca_ratio 120
n ipv4/tcp_pacing_ss_ratio 200
n ipv4/tcp_pingpong_thresh 1
n ipv4/tcp_plb_cong_thresh 128
n ipv4/tcp_plb_enabled 0
n ipv4/tcp_plb_idle_rehash_rounds 3
n ipv4/tcp_plb_rehash_rounds 12
n ipv4/tcp_plb_suspend_rto_sec 60
n ipv4/tcp_probe_interval 600
n ipv4/tcp_probe_threshold 8
n ipv4/tcp_recovery 1
n ipv4/tcp_reflect_tos 0
n ipv4/tcp_reordering 3
n ipv4/tcp_retrans_collapse 1
n ipv4/tcp_retries1 3
n ipv4/tcp_retries2 15
n ipv4/tcp_rfc1337 0
n ipv4/tcp_rmem 4096 131072 6291456
n ipv4/tcp_rto_max_ms 120000
n ipv4/tcp_rto_min_us 200000
n ipv4/tcp_sack 1
n ipv4/tcp_shrink_window 0
n ipv4/tcp_slow_start_after_idle 1
n ipv4/tcp_stdurg 0
n ipv4/tcp_syn_linear_timeouts 4
n ipv4/tcp_syn_retries 6
n ipv4/tcp_synack_retries 5
n ipv4/tcp_syncookies 1
n ipv4/tcp_thin_linear_timeouts 0
n ipv4/tcp_timestamps 1
n ipv4/tcp_tso_rtt_log 9
n ipv4/tcp_tso_win_divisor 3
n ipv4/tcp_tw_reuse 2
n ipv4/tcp_tw_reuse_delay 1000
n ipv4/tcp_window_scaling 1
n ipv4/tcp_wmem 4096 16384 4194304
n ipv4/tcp_workaround_signed_windows 0
n ipv4/udp_child_hash_entries 0
n ipv4/udp_early_demux 1
r ipv4/udp_hash_entries 4096
n ipv4/udp_mem 186078 248104 372156
n ipv4/udp_rmem_min 4096
n ipv4/udp_wmem_min 4096
n ipv6/anycast_src_echo_reply 0
n ipv6/auto_flowlabels 1
n ipv6/bindv6only 0
n ipv6/fib_multipath_hash_fields 7
n ipv6/fib_multipath_hash_policy 0
n ipv6/fib_notify_on_flag_change 0
n ipv6/flowlabel_consistency 1
n ipv6/flowlabel_reflect 0
n ipv6/icmp/echo_ignore_all 0
n ipv6/icmp/echo_ignore_anycast 0
n ipv6/icmp/echo_ignore_multicast 0
n ipv6/icmp/error_anycast_as_unicast 0
n ipv6/icmp/ratelimit 100
w ipv6/icmp/ratemask 0-1,3-127
n ipv6/idgen_delay 1
n ipv6/idgen_retries 3
n ipv6/ip6frag_high_thresh 4194304
n ipv6/ip6frag_low_thresh 3145728
n ipv6/ip6frag_time 60
n ipv6/ip_nonlocal_bind 0
n ipv6/max_dst_opts_length 2147483647
n ipv6/max_dst_opts_number 8
n ipv6/max_hbh_length 2147483647
n ipv6/max_hbh_opts_number 8
n ipv6/route/gc_elasticity 9
n ipv6/route/gc_interval 30
n ipv6/route/gc_min_interval 0
n ipv6/route/gc_min_interval_ms 500
n ipv6/route/gc_thresh 1024
n ipv6/route/gc_timeout 60
n ipv6/route/max_size 2147483647
n ipv6/route/min_adv_mss 1220
n ipv6/route/mtu_expires 600
n ipv6/route/skip_notify_on_dev_down 0
n unix/max_dgram_qlen 512
`

// Settings that each interface has, and those for all and the default.
const (
	conf4Settings = `
n accept_local 0
n accept_redirects 1
n accept_source_route 0
n arp_accept 0
n arp_announce 0
n arp_evict_nocarrier 1
n arp_filter 0
n arp_ignore 0
n arp_notify 0
n bc_forwarding 0
n disable_policy 0
n disable_xfrm 0
n drop_gratuitous_arp 0
n drop_unicast_in_l2_multicast 0
n force_igmp_version 0
n forwarding 0
n ignore_routes_with_linkdown 0
n log_martians 0
n mc_forwarding 0
n medium_id 0
n promote_secondaries 0
n proxy_arp 0
n proxy_arp_pvlan 0
n route_localnet 0
n rp_filter 0
n secure_redirects 1
n send_redirects 1
n shared_media 1
n src_valid_mark 0
n tag 0
`
	conf6Settings = `
n disable_ipv6 0
n forwarding 0
n accept_ra 1
n accept_redirects 1
n autoconf 1
n dad_transmits 1
n router_solicitations -1
n hop_limit 64
n mtu 1280
n use_tempaddr 0
n accept_source_route 0
n addr_gen_mode 0
n accept_dad 1
n optimistic_dad 0
n proxy_ndp 0
n temp_prefered_lft 86400
n temp_valid_lft 604800
`
	neighbourSettings = `
n anycast_delay 100
n app_solicit 0
n base_reachable_time_ms 30000
n delay_first_probe_time 5
n gc_interval 30
n gc_stale_time 60
n gc_thresh1 128
n gc_thresh2 512
n gc_thresh3 1024
n locktime 100
n mcast_resolicit 0
n mcast_solicit 3
n proxy_delay 80
n proxy_qlen 64
n retrans_time_ms 1000
n ucast_solicit 3
n unres_qlen 101
n unres_qlen_bytes 212992
`
)

// parseSettings reads a list of settings in a directory.
func parseSettings(dir, settings string) (all []sysctl) {
	kinds := map[byte]sysctlKind{'n': number, 'w': word, 'r': fixedValue}
	for line := range strings.Lines(settings) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		kind := kinds[name[0]]
		name, value, _ = strings.Cut(value, " ")
		if kind == number {
			value = strings.ReplaceAll(value, " ", "\t")
		}
		all = append(all, sysctl{dir + name, value, kind})
	}
	return all
}

// networkTable is the part of the table below net.
func networkTable() (all []sysctl) {
	add := func(dir, settings string) { all = append(all, parseSettings(dir, settings)...) }
	add("net/", networkSettings)
	for _, who := range []string{"all/", "default/", "lo/"} {
		add("net/ipv4/conf/"+who, conf4Settings)
		six := conf6Settings
		if who == "lo/" {
			six = strings.Replace(six, "n mtu 1280", "n mtu 65536", 1)
		}
		add("net/ipv6/conf/"+who, six)
	}
	for _, who := range []string{"default/", "lo/"} {
		add("net/ipv4/neigh/"+who, neighbourSettings)
		add("net/ipv6/neigh/"+who, neighbourSettings)
	}
	return all
}
