package server

import (
	"runtime"
	"testing"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Servers hold connections that say nothing: each end costs netd less than 4 KiB of its
// heap. To that comes the page of shared memory that its rings' heads lie in.
func TestIdleConnections(t *testing.T) {
	s := start(t)
	const pairs = 500
	l := s.want("listen", &netdv1.Request{Socket: 1, Open: tcpOpen(), Op: &netdv1.Request_Listen{Listen: &netdv1.Listen{Backlog: linux.SOMAXCONN}}}, 0)
	connect := func(id uint32) {
		s.want("connect", &netdv1.Request{Socket: id, Open: tcpOpen(), Op: connectTo(lo, l.Local.Port)}, 0)
		<-s.notices
	}
	for id := range uint32(50) { // what is made once
		connect(2 + id)
	}
	before := liveHeap()
	for id := range uint32(pairs) {
		connect(100 + id)
	}
	each := float64(liveHeap()-before) / (2 * pairs)
	t.Logf("%.0f bytes for each end", each)
	if each > 4096 {
		t.Errorf("an idle connection costs %.0f bytes of heap, want 4096 at most", each)
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
