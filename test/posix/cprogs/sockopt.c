#include "cprogs.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

/*
 * Every number of every level is read and set, on a socket of its own: what is
 * no option is ENOPROTOOPT on both sides and not printed.
 */

struct kind {
	int family, type, protocol;
};

static int make(const struct kind *k) { return socket(k->family, k->type, k->protocol); }

/* varies says whose value is of the moment, or of the machine: its length is compared. */
static int varies(int level, int opt)
{
	switch (level) {
	case SOL_SOCKET: /* INCOMING_CPU, MEMINFO, INCOMING_NAPI_ID, COOKIE, NETNS_COOKIE */
		return opt == 49 || opt == 55 || opt == 56 || opt == 57 || opt == 71;
	case IPPROTO_TCP: /* INFO, CONGESTION, TIMESTAMP, CC_INFO */
		return opt == 11 || opt == 13 || opt == 24 || opt == 26;
	}
	return 0;
}

static char *put(char *at, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	at += vsprintf(at, format, ap);
	va_end(ap);
	return at;
}

static char *result(char *at, long r)
{
	if (r == -1)
		return put(at, " %s", strerrorname_np(errno));
	return put(at, " ok");
}

/* value appends what getsockopt gives. */
static char *value(char *at, int fd, int level, int opt)
{
	unsigned char b[512];
	socklen_t n = sizeof b;
	memset(b, 0xee, sizeof b);
	if (getsockopt(fd, level, opt, b, &n) == -1)
		return put(at, " %s", strerrorname_np(errno));
	if (level == IPPROTO_TCP && opt == TCP_INFO)
		return put(at, " of %s bytes", n >= 104 ? "many" : "few"); /* newer kernels tell more */
	if (varies(level, opt))
		return put(at, " of %d bytes", n);
	int i;
	if (n == 4) {
		memcpy(&i, b, 4);
		return put(at, " %d", i);
	}
	at = put(at, " %d:", n);
	for (i = 0; i < (int)n && i < 16; i++)
		at = put(at, "%02x", b[i]);
	return at;
}

/*
 * What differs, and why: it is not compared. Numbers that the C library does not
 * know are in linux/socket.h and its like.
 */
static const struct {
	int level, opt;
	const char *why;
} apart[] = {
	{SOL_SOCKET, 16, "SO_PASSCRED of other families than unix was taken until Linux 6.16"},
	{SOL_SOCKET, 34, "SO_PASSSEC likewise"},
	{SOL_SOCKET, 15, "SO_REUSEPORT of other families than the internet's was taken until Linux 6.13"},
	{SOL_SOCKET, 50, "SO_ATTACH_BPF wants a descriptor of bpf(2), which is not there"},
	{SOL_SOCKET, 52, "SO_ATTACH_REUSEPORT_EBPF likewise"},
	{SOL_SOCKET, 25, "SO_BINDTODEVICE of other families is not there"},
	{SOL_SOCKET, 62, "SO_BINDTOIFINDEX likewise"},
	{IPPROTO_IP, 4, "IP_OPTIONS: packets are sent without"},
	{IPPROTO_IP, 5, "IP_ROUTER_ALERT: no packets are given to those who route by themselves"},
	{IPPROTO_IP, 9, "IP_PKTOPTIONS is not there"},
	{IPPROTO_IP, 16, "IP_IPSEC_POLICY is not there"},
	{IPPROTO_IP, 17, "IP_XFRM_POLICY is not there"},
	{IPPROTO_IP, 22, "IP_NODEFRAG is not there"},
	{IPPROTO_IP, 49, "IP_MULTICAST_ALL of IPv6 sockets is off at first on Linux, and means nothing"},
	{IPPROTO_IPV6, 61, "IPV6_PATHMTU is never there"},
	{IPPROTO_IPV6, 1, "IPV6_ADDRFORM is not there"},
	{IPPROTO_IPV6, 6, "IPV6_2292PKTOPTIONS is not there"},
	{IPPROTO_IPV6, 16, "IPV6_UNICAST_HOPS: none at all is refused"},
	{IPPROTO_IPV6, 17, "IPV6_MULTICAST_IF: the host may have other interfaces"},
	{IPPROTO_IPV6, 24, "IPV6_MTU cannot be set"},
	{IPPROTO_IPV6, 34, "IPV6_IPSEC_POLICY is not there"},
	{IPPROTO_IPV6, 35, "IPV6_XFRM_POLICY is not there"},
	{IPPROTO_IPV6, 36, "IPV6_HDRINCL is not there"},
	{IPPROTO_IPV6, 64, "IP6T_SO_: what there is depends on the host's modules"},
	{IPPROTO_IPV6, 65, "likewise"},
	{IPPROTO_IPV6, 68, "likewise"},
	{IPPROTO_IPV6, 69, "likewise"},
	{IPPROTO_IPV6, 80, "likewise"},
	{IPPROTO_IPV6, 72, "IPV6_ADDR_PREFERENCES is not there"},
	{IPPROTO_TCP, 19, "TCP_REPAIR is refused"},
	{IPPROTO_TCP, 26, "TCP_CC_INFO goes by the host's algorithm"},
	{IPPROTO_UDP, 100, "UDP_ENCAP is not there"},
};

static int set_apart(int level, int opt)
{
	for (int i = 0; i < (int)(sizeof apart / sizeof *apart); i++)
		if (apart[i].level == level && apart[i].opt == opt)
			return 1;
	return 0;
}

static int unknown(const struct kind *k, int level, int opt)
{
	unsigned char b[512] = {0};
	socklen_t n = sizeof b;
	int fd = make(k), one = 1;
	int get = getsockopt(fd, level, opt, b, &n) == -1 && (errno == ENOPROTOOPT || errno == EOPNOTSUPP);
	int set = setsockopt(fd, level, opt, &one, sizeof one) == -1 && errno == ENOPROTOOPT;
	close(fd);
	return get && set;
}

static void walk(struct kind k, int level, const char *name, int last)
{
	static const int values[] = {1, 0, -1, 2, 7, 100, 70000};
	for (int opt = 1; opt <= last; opt++) {
		char line[1024], *at = line;
		if (k.type == SOCK_STREAM && (opt == 41 || opt == 48) && level != SOL_SOCKET && level != IPPROTO_TCP)
			continue; /* *_MSFILTER: streams have no groups */
		if (set_apart(level, opt) || unknown(&k, level, opt))
			continue;
		int fd = make(&k);
		if (fd < 0) {
			err(name, -1);
			return;
		}
		at = put(at, "%s %d:", name, opt);
		at = value(at, fd, level, opt);
		for (int i = 0; i < (int)(sizeof values / sizeof *values); i++) {
			int v = values[i];
			if (v < 0 && level == SOL_SOCKET && (opt == SO_SNDBUF || opt == SO_RCVBUF || opt == SO_RCVLOWAT))
				continue; /* the most there may be */
			at = put(at, "; %d", v);
			at = result(at, setsockopt(fd, level, opt, &v, sizeof v));
			at = value(at, fd, level, opt);
		}
		int v = 1;
		at = put(at, "; short");
		at = result(at, setsockopt(fd, level, opt, &v, 1));
		at = result(at, setsockopt(fd, level, opt, &v, 0));
		at = result(at, setsockopt(fd, level, opt, &v, -1));
		unsigned char b[4] = {0xee, 0xee, 0xee, 0xee};
		socklen_t n = 1;
		at = result(at, getsockopt(fd, level, opt, b, &n));
		put(at, " %d %02x", n, b[1]);
		say("%s", line);
		close(fd);
	}
}

/* What Linux has had since 5.15. */
#define LAST_SOCKET 74
#define LAST_IP 50
#define LAST_IPV6 80
#define LAST_TCP 37

static void tcp_socket(void) { walk((struct kind){AF_INET, SOCK_STREAM, 0}, SOL_SOCKET, "socket", LAST_SOCKET); }
static void tcp_ip(void) { walk((struct kind){AF_INET, SOCK_STREAM, 0}, IPPROTO_IP, "ip", LAST_IP); }
static void tcp_tcp(void) { walk((struct kind){AF_INET, SOCK_STREAM, 0}, IPPROTO_TCP, "tcp", LAST_TCP); }
static void tcp6_ipv6(void) { walk((struct kind){AF_INET6, SOCK_STREAM, 0}, IPPROTO_IPV6, "ipv6", LAST_IPV6); }
static void udp_socket(void) { walk((struct kind){AF_INET, SOCK_DGRAM, 0}, SOL_SOCKET, "socket", LAST_SOCKET); }
static void udp_ip(void) { walk((struct kind){AF_INET, SOCK_DGRAM, 0}, IPPROTO_IP, "ip", LAST_IP); }
static void udp_udp(void) { walk((struct kind){AF_INET, SOCK_DGRAM, 0}, IPPROTO_UDP, "udp", 110); }
static void udp6_ipv6(void) { walk((struct kind){AF_INET6, SOCK_DGRAM, 0}, IPPROTO_IPV6, "ipv6", LAST_IPV6); }
static void udp6_ip(void) { walk((struct kind){AF_INET6, SOCK_DGRAM, 0}, IPPROTO_IP, "ip", LAST_IP); }
static void raw_ip(void)
{
	walk((struct kind){AF_INET, SOCK_RAW, IPPROTO_ICMP}, IPPROTO_IP, "ip", LAST_IP);
	walk((struct kind){AF_INET, SOCK_RAW, IPPROTO_ICMP}, 255, "raw", 3);
}
static void raw6_ipv6(void)
{
	walk((struct kind){AF_INET6, SOCK_RAW, IPPROTO_ICMPV6}, IPPROTO_IPV6, "ipv6", LAST_IPV6);
	walk((struct kind){AF_INET6, SOCK_RAW, IPPROTO_ICMPV6}, IPPROTO_ICMPV6, "icmpv6", 3);
	walk((struct kind){AF_INET6, SOCK_RAW, 100}, IPPROTO_IPV6, "other", 10);
	walk((struct kind){AF_INET6, SOCK_RAW, 100}, 255, "raw", 10);
}
static void unix_socket(void)
{
	walk((struct kind){AF_UNIX, SOCK_STREAM, 0}, SOL_SOCKET, "stream", LAST_SOCKET);
	walk((struct kind){AF_UNIX, SOCK_DGRAM, 0}, SOL_SOCKET, "dgram", LAST_SOCKET);
}
static void netlink_socket(void)
{
	walk((struct kind){AF_NETLINK, SOCK_RAW, 0}, 270, "netlink", 14);
}

/* The options of a level that a socket is not of. */
static void levels(void)
{
	static const struct kind kinds[] = {{AF_INET, SOCK_STREAM, 0}, {AF_INET6, SOCK_STREAM, 0}, {AF_INET, SOCK_DGRAM, 0}, {AF_INET6, SOCK_DGRAM, 0}, {AF_UNIX, SOCK_STREAM, 0}, {AF_NETLINK, SOCK_RAW, 0}};
	static const int all[] = {IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6, IPPROTO_ICMPV6, 132, 136, 255, 263, 270, 281, 284, 1000, -1};
	for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
		for (int j = 0; j < (int)(sizeof all / sizeof *all); j++) {
			char line[200], *at = line;
			int fd = make(&kinds[i]), v = 1;
			at = put(at, "kind %d level %d:", i, all[j]);
			at = value(at, fd, all[j], 2);
			result(at, setsockopt(fd, all[j], 2, &v, sizeof v));
			say("%s", line);
			close(fd);
		}
}

/* What a connection over the loopback says. */
static void connected(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	char name[16] = {0}, line[200], *at;
	setsockopt(l, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	bind(l, (struct sockaddr *)&a, sizeof a);
	listen(l, 5);
	getsockname(l, (struct sockaddr *)&a, &n);
	int c = socket(AF_INET, SOCK_STREAM, 0);
	err("connect", connect(c, (struct sockaddr *)&a, sizeof a));
	int s = accept(l, 0, 0);
	n = sizeof name;
	getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name, &n);
	say("accepted has %s", name);
	n = sizeof name;
	memset(name, 0, sizeof name);
	getsockopt(c, IPPROTO_TCP, TCP_CONGESTION, name, &n);
	say("connected has %s", strlen(name) > 0 ? "one" : "none");
	err("no such algorithm", setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, "none", 4));
	static const int read[][2] = {
		{SOL_SOCKET, SO_ACCEPTCONN}, {SOL_SOCKET, SO_ERROR}, {SOL_SOCKET, SO_TYPE}, {SOL_SOCKET, SO_PROTOCOL}, {SOL_SOCKET, SO_DOMAIN},
		{SOL_SOCKET, SO_PEERNAME}, {IPPROTO_IP, IP_MTU}, {IPPROTO_TCP, TCP_SAVED_SYN}, {IPPROTO_TCP, TCP_ULP},
		{IPPROTO_TCP, TCP_REPAIR_WINDOW},
	};
	for (int i = 0; i < (int)(sizeof read / sizeof *read); i++) {
		at = put(line, "%d %d:", read[i][0], read[i][1]);
		if (read[i][1] == SO_PEERNAME && read[i][0] == SOL_SOCKET) {
			n = 64;
			char b[64];
			at = result(at, getsockopt(c, SOL_SOCKET, SO_PEERNAME, b, &n));
			put(at, " %d", n);
		} else
			value(at, c, read[i][0], read[i][1]);
		say("%s", line);
	}
	struct tcp_info info;
	n = sizeof info;
	getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &n);
	say("state %d ca %d options %d scales %d %d", info.tcpi_state, info.tcpi_ca_state, info.tcpi_options, info.tcpi_snd_wscale != 0, info.tcpi_rcv_wscale != 0);
	int v = 0;
	err("IPV6_V6ONLY", setsockopt(c, IPPROTO_IPV6, IPV6_V6ONLY, &v, sizeof v));
	shutdown(s, SHUT_WR);
	for (int i = 0; i < 10000; i++) {
		n = sizeof info;
		getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &n);
		if (info.tcpi_state != TCP_ESTABLISHED)
			break;
		msleep(2);
	}
	say("state %d", info.tcpi_state);
	n = sizeof info;
	getsockopt(l, IPPROTO_TCP, TCP_INFO, &info, &n);
	say("state %d unacked %d sacked %d", info.tcpi_state, info.tcpi_unacked, info.tcpi_sacked);
}

const struct row sockopt_rows[] = {
	{"sockopt.tcp-socket", tcp_socket}, {"sockopt.tcp-ip", tcp_ip}, {"sockopt.tcp-tcp", tcp_tcp}, {"sockopt.tcp6-ipv6", tcp6_ipv6},
	{"sockopt.udp-socket", udp_socket}, {"sockopt.udp-ip", udp_ip}, {"sockopt.udp-udp", udp_udp}, {"sockopt.udp6-ipv6", udp6_ipv6},
	{"sockopt.udp6-ip", udp6_ip}, {"sockopt.raw", raw_ip}, {"sockopt.raw6", raw6_ipv6}, {"sockopt.unix", unix_socket},
	{"sockopt.netlink", netlink_socket}, {"sockopt.levels", levels}, {"sockopt.connected", connected}, {0, 0}};
