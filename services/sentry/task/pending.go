package task

import (
	"math/bits"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
)

// pendingSignals are signals that have been sent and not taken, those of each
// number in order. Guarded by the group's sigMu.
type pendingSignals struct {
	set    linux.SigSet
	queues [linux.NSIG + 1]*sigQueue
	length int
}

// sigQueue is what is queued of one signal.
type sigQueue struct {
	items []queuedSignal
	head  int
}

type queuedSignal struct {
	info  linux.SigInfo
	timer *posixTimer // whose signal it is
}

// maxQueued bounds the queue of a task or group, whatever RLIMIT_SIGPENDING says.
const maxQueued = 1 << 16

// fewQueued may always be.
const fewQueued = 64

// add queues info. A standard signal that is pending already is not queued again:
// signal(7). Past the limit, a real-time signal with a value is refused with
// EAGAIN, and any other becomes pending without its siginfo.
func (p *pendingSignals) add(info linux.SigInfo, timer *posixTimer, limit uint64) error {
	sig := linux.Signal(info.Signo)
	if p.set.Has(sig) && sig < linux.SIGRTMIN {
		return nil
	}
	full := uint64(p.length) >= min(limit, maxQueued) || p.length > fewQueued && budget.Check() != nil
	if full && (sig >= linux.SIGRTMIN || info.Code < 0) {
		if sig >= linux.SIGRTMIN && info.Code != linux.SI_USER {
			return linux.EAGAIN
		}
		p.set |= linux.SigSetOf(sig)
		return nil
	}
	p.set |= linux.SigSetOf(sig)
	q := p.queues[sig]
	if q == nil {
		q = &sigQueue{}
		p.queues[sig] = q
	}
	q.items = append(q.items, queuedSignal{info, timer})
	p.length++
	if timer != nil {
		timer.queued = true
	}
	return nil
}

// take gives the first signal of want: faults first, then by number.
func (p *pendingSignals) take(want linux.SigSet) (linux.SigInfo, bool) {
	ready := p.set & want
	if ready == 0 {
		return linux.SigInfo{}, false
	}
	if sync := ready & synchronous; sync != 0 {
		ready = sync
	}
	sig := linux.Signal(bits.TrailingZeros64(uint64(ready)) + 1)
	q := p.queues[sig]
	if q == nil || q.head == len(q.items) {
		p.set &^= linux.SigSetOf(sig)
		return linux.SigInfo{Signo: int32(sig)}, true
	}
	item := q.items[q.head]
	q.items[q.head] = queuedSignal{}
	q.head++
	p.length--
	if q.head == len(q.items) {
		p.emptied(sig)
	}
	if item.timer != nil {
		item.timer.taken(&item.info)
	}
	return item.info, true
}

// emptied is for a queue that nothing is left in.
func (p *pendingSignals) emptied(sig linux.Signal) {
	p.set &^= linux.SigSetOf(sig)
	q := p.queues[sig]
	q.items, q.head = q.items[:0], 0
	if cap(q.items) > 64 {
		p.queues[sig] = nil
	}
}

// drop takes every signal of set away.
func (p *pendingSignals) drop(set linux.SigSet) {
	for ready := p.set & set; ready != 0; ready &= ready - 1 {
		sig := linux.Signal(bits.TrailingZeros64(uint64(ready)) + 1)
		p.set &^= linux.SigSetOf(sig)
		q := p.queues[sig]
		if q == nil {
			continue
		}
		for _, item := range q.items[q.head:] {
			p.length--
			if item.timer != nil {
				item.timer.taken(&item.info)
			}
		}
		p.emptied(sig)
	}
}

// dropTimer takes away the signal that a timer has queued.
func (p *pendingSignals) dropTimer(timer *posixTimer) {
	if !timer.queued { // and with SIGEV_NONE its signal may be any number
		return
	}
	q := p.queues[timer.sig]
	if q == nil {
		return
	}
	for i := q.head; i < len(q.items); i++ {
		if q.items[i].timer != timer {
			continue
		}
		q.items = append(q.items[:i], q.items[i+1:]...)
		p.length--
		timer.queued = false
		if q.head == len(q.items) {
			p.emptied(timer.sig)
		}
		return
	}
}

// PeekPending gives at most n of the signals that are queued to the thread, or to
// its process, after the first off: PTRACE_PEEKSIGINFO of ptrace(2).
func (t *Task) PeekPending(shared bool, off uint64, n int) (infos []linux.SigInfo) {
	t.group.sigMu.Lock()
	defer t.group.sigMu.Unlock()
	p := &t.pending
	if shared {
		p = &t.group.pending
	}
	for _, q := range p.queues {
		if q == nil {
			continue
		}
		for _, item := range q.items[q.head:] {
			switch {
			case off > 0:
				off--
			case len(infos) == n:
				return infos
			default:
				infos = append(infos, item.info)
			}
		}
	}
	return infos
}
