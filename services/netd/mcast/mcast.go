// Package mcast is the host's side of group management: IGMPv3 (RFC 3376) and
// MLDv2 (RFC 3810), with the older versions that routers may speak. It is pure:
// the present time, joins and queries go in, reports come out.
package mcast
