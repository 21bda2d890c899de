package server

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Servers hold connections that say nothing: each end costs netd less than 4 KiB, of its
// heap and of shared memory together.
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
	s.keep = true
	for id := range uint32(pairs) {
		connect(100 + id)
	}
	each := float64(liveHeap()-before) / (2 * pairs)
	shared := 0.0
	for _, fd := range s.kept {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Error(err)
		}
		shared += float64(st.Blocks*512) / (2 * pairs)
		unix.Close(fd)
	}
	t.Logf("%.0f bytes of heap and %.0f shared for each end", each, shared)
	if each+shared > 4096 || shared == 0 {
		t.Errorf("an idle connection costs %.0f bytes of heap and %.0f shared, want 4096 at most", each, shared)
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
