package inet

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// fastOpenClient is the bit of net.ipv4.tcp_fastopen that lets connections begin so.
const fastOpenClient = 1

// fast says whether connect(2) is to leave the SYN to the first bytes:
// TCP_FASTOPEN_CONNECT.
func (c *settings) fast() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fastConnect && c.tuning.fastOpen.Load()&fastOpenClient != 0
}

// ConnectFast implements socket.FastOpener.
func (s *Stream) ConnectFast(ctx vfs.Context, addr []byte, nonblock bool) error {
	if s.n.tuning.fastOpen.Load()&fastOpenClient == 0 {
		return linux.EOPNOTSUPP
	}
	return s.connect(ctx, addr, nonblock, true)
}

// Deferred implements socket.FastOpener: netd waits for bytes to send with the SYN.
func (s *Stream) Deferred() bool {
	e := s.end.Load()
	return e != nil && s.direct.Load() == nil && s.state(e)&deferred != 0
}

// AwaitConnect implements socket.FastOpener.
func (s *Stream) AwaitConnect(ctx vfs.Context) error {
	return socket.AwaitConnect(ctx, s, s.connectDone)
}
