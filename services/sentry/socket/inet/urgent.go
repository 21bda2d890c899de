package inet

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
)

// urgent is TCP's one urgent byte: tcp(7), "MSG_OOB".
type urgent struct {
	marked  bool   // there is a mark at `at`, not passed yet
	present bool   // its byte was not read
	at      uint64 // place in the stream
}

func (u *urgent) mark(at uint64) { u.marked, u.present, u.at = true, true, at }

// before is how many bytes can be read in one go from place on: up to the mark.
func (u *urgent) before(place uint64) int {
	if !u.marked || place >= u.at {
		return 1 << 30
	}
	return int(u.at - place)
}

// skipUrgentLocked passes the mark where reading has come to it: the byte is not
// part of the stream unless SO_OOBINLINE.
func (h *half) skipUrgentLocked(flags int) {
	u := &h.urgent
	if !u.marked || h.consumed != u.at || h.in.size == 0 {
		return
	}
	if h.owner.conf.inline() {
		u.marked, u.present = false, false
		return
	}
	if flags&linux.MSG_PEEK != 0 {
		return
	}
	h.in.read(1)
	h.consumed++
	u.marked, u.present = false, false
}

// receiveUrgent is recv(2) with MSG_OOB: EINVAL if there is no urgent byte, or it
// was read, or lies in the stream.
func (h *half) receiveUrgent(m *socket.Msg) (int, error) {
	h.d.Lock()
	defer h.d.Unlock()
	u := &h.urgent
	if !u.present || h.owner.conf.inline() || u.at < h.consumed || u.at-h.consumed >= uint64(h.in.size) {
		return 0, linux.EINVAL
	}
	b := h.in.at(int(u.at-h.consumed), 1)[0]
	if m.Flags&linux.MSG_PEEK == 0 {
		u.present = false
	}
	m.Out |= linux.MSG_OOB
	for _, p := range m.Data {
		if len(p) > 0 {
			p[0] = b
			return 1, nil
		}
	}
	return 0, nil
}

// atMark is SIOCATMARK.
func (h *half) atMark() bool {
	h.d.Lock()
	defer h.d.Unlock()
	return h.urgent.marked && h.consumed == h.urgent.at
}
