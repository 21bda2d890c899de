package inet

import netdv1 "bulkhead/proto/netd/v1"

// This file has what netlink's sockets ask of a network.

// ask sends a question about the namespace itself.
func (n *Network) ask(req *netdv1.Request) (*netdv1.Response, error) {
	resp, fds, err := n.call(req)
	closeAll(fds)
	return resp, err
}

// Stations asks netd for what bridges know of stations.
func (n *Network) Stations() (*netdv1.Response, error) {
	return n.ask(&netdv1.Request{Op: &netdv1.Request_Stations{Stations: &netdv1.StationDump{}}})
}

// Path asks netd how a packet would leave, or why it would not: ENETUNREACH, EHOSTUNREACH, EACCES,
// EINVAL, ENETDOWN.
func (n *Network) Path(q *netdv1.PathQuery) (*netdv1.RouteEntry, error) {
	resp, err := n.ask(&netdv1.Request{Op: &netdv1.Request_Path{Path: q}})
	if err != nil {
		return nil, err
	}
	return resp.Path, errnoOf(resp.Error)
}

// Stations asks whichever netd there is.
func (o *Outlet) Stations() (*netdv1.Response, error) { return o.now.Load().Stations() }

// Path likewise.
func (o *Outlet) Path(q *netdv1.PathQuery) (*netdv1.RouteEntry, error) { return o.now.Load().Path(q) }
