package sysvipc

import (
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Flags of msgrcv(2).
const (
	MSG_NOERROR = 0o10000
	MSG_EXCEPT  = 0o20000
	MSG_COPY    = 0o40000
)

// What msgctl(2) does besides.
const (
	MSG_STAT     = 11
	MSG_INFO     = 12
	MSG_STAT_ANY = 13
)

// Limits: bytes of a message, of a queue at first, queues; msgTotal is the most
// bytes of all queues, with what a message costs beside its text.
const (
	MsgMax   = 8192
	MsgMNB   = 16384
	MsgMNI   = 32000
	msgTotal = 64 << 20
	msgCost  = 64
)

type msgTable struct {
	mu sync.Mutex
	table[*msgQueue]
	total int // bytes, with msgCost for each message
}

type message struct {
	kind int64
	text []byte
}

// msgQueue is what msgget gives. Guarded by the table's lock.
type msgQueue struct {
	mode                Perm
	messages            []message
	bytes, most         uint64 // of texts
	stime, rtime, ctime int64
	sender, receiver    int32
	removed             bool
	queue               wait.Queue // In: a message has come; Out: one has gone
}

func (q *msgQueue) perm() *Perm { return &q.mode }

// Msgget finds or makes a queue and gives its id: msgget(2).
func (n *Namespace) Msgget(ctx vfs.Context, key, flags int32) (int32, error) {
	t := &n.msg
	t.mu.Lock()
	defer t.mu.Unlock()
	return get(&t.table, ctx.Creds(), key, flags, MsgMNI, func(*msgQueue) error { return nil }, func() (*msgQueue, error) {
		return &msgQueue{mode: newPerm(ctx.Creds(), key, flags), most: MsgMNB, ctime: seconds()}, nil
	})
}

// use finds a queue that the caller may use so.
func (n *Namespace) useMsg(ctx vfs.Context, id, asked int32) (*msgQueue, error) {
	t := &n.msg
	t.mu.Lock()
	defer t.mu.Unlock()
	q, err := t.find(id)
	if err != nil {
		return nil, err
	}
	return q, q.mode.check(ctx.Creds(), asked)
}

// Msgsnd puts a message into a queue, which keeps text: msgsnd(2). EAGAIN, EIDRM,
// EINTR.
func (n *Namespace) Msgsnd(ctx vfs.Context, id int32, kind int64, text []byte, flags int32) error {
	q, err := n.useMsg(ctx, id, toWrite)
	if err != nil {
		return err
	}
	t := &n.msg
	err = wait.Until(ctx, &q.queue, wait.Out, time.Time{}, func() (bool, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.removed {
			return true, linux.EIDRM
		}
		if q.bytes+uint64(len(text)) > q.most || uint64(len(q.messages))+1 > q.most {
			return flags&IPC_NOWAIT != 0, linux.EAGAIN
		}
		if t.total+len(text)+msgCost > msgTotal {
			return true, linux.ENOMEM
		}
		t.total += len(text) + msgCost
		q.messages = append(q.messages, message{kind, text})
		q.bytes += uint64(len(text))
		q.stime, q.sender = seconds(), ctx.TGID()
		return true, nil
	})
	if err == nil {
		q.queue.Notify(wait.In)
	}
	return interrupted(err)
}

// Msgrcv takes a message of at most size bytes: msgrcv(2). E2BIG, ENOMSG, EIDRM,
// EINTR.
func (n *Namespace) Msgrcv(ctx vfs.Context, id int32, size uint64, want int64, flags int32) (kind int64, text []byte, err error) {
	q, err := n.useMsg(ctx, id, toRead)
	if err != nil {
		return 0, nil, err
	}
	err = wait.Until(ctx, &q.queue, wait.In, time.Time{}, func() (bool, error) {
		n.msg.mu.Lock()
		defer n.msg.mu.Unlock()
		if q.removed {
			return true, linux.EIDRM
		}
		i := q.pick(want, flags)
		if i < 0 {
			return flags&IPC_NOWAIT != 0, linux.ENOMSG
		}
		m := q.messages[i]
		if uint64(len(m.text)) > size && flags&MSG_NOERROR == 0 {
			return true, linux.E2BIG
		}
		if flags&MSG_COPY == 0 {
			n.msg.take(q, i)
			q.rtime, q.receiver = seconds(), ctx.TGID()
		}
		kind, text = m.kind, m.text[:min(uint64(len(m.text)), size)]
		return true, nil
	})
	if err == nil && flags&MSG_COPY == 0 {
		q.queue.Notify(wait.Out)
	}
	return kind, text, interrupted(err)
}

// interrupted is the error of a call that a handler ends for good, and a stop does not:
// signal(7).
func interrupted(err error) error {
	if err == linux.ERESTARTSYS {
		return linux.ERESTARTNOHAND
	}
	return err
}

// pick is the index of the message that a receiver wants: the first, the first of a
// type, the first of another type, the first of the lowest type that is not above
// -want, or with MSG_COPY the one with that index; -1 if there is none.
func (q *msgQueue) pick(want int64, flags int32) int {
	if flags&MSG_COPY != 0 {
		if want >= 0 && want < int64(len(q.messages)) {
			return int(want)
		}
		return -1
	}
	best := -1
	for i, m := range q.messages {
		switch {
		case want == 0:
			return i
		case want > 0:
			if (m.kind == want) == (flags&MSG_EXCEPT == 0) {
				return i
			}
		case m.kind <= -want || want == -want: // the most negative number has no positive
			if best < 0 || m.kind < q.messages[best].kind {
				best = i
			}
		}
	}
	return best
}

// take removes a message from its queue.
func (t *msgTable) take(q *msgQueue, i int) {
	n := len(q.messages[i].text)
	q.bytes -= uint64(n)
	t.total -= n + msgCost
	copy(q.messages[i:], q.messages[i+1:])
	q.messages[len(q.messages)-1] = message{}
	q.messages = q.messages[:len(q.messages)-1]
}

// RemoveMsg is IPC_RMID: who waits gets EIDRM.
func (n *Namespace) RemoveMsg(ctx vfs.Context, id int32) error {
	t := &n.msg
	t.mu.Lock()
	q, err := t.find(id)
	if err == nil {
		err = q.mode.owned(ctx.Creds())
	}
	if err == nil {
		t.remove(q)
		t.total -= int(q.bytes) + msgCost*len(q.messages)
		q.removed, q.messages = true, nil
	}
	t.mu.Unlock()
	if err == nil {
		q.queue.Notify(wait.In | wait.Out)
	}
	return err
}

// SetMsg is IPC_SET; most is the queue's limit in bytes, which only
// CAP_SYS_RESOURCE may put above MsgMNB.
func (n *Namespace) SetMsg(ctx vfs.Context, id int32, to Perm, most uint64) error {
	t := &n.msg
	t.mu.Lock()
	q, err := t.find(id)
	if err == nil {
		err = q.mode.owned(ctx.Creds())
	}
	if err == nil && most > MsgMNB && !ctx.Creds().Has(linux.CAP_SYS_RESOURCE) {
		err = linux.EPERM
	}
	if err == nil {
		q.mode.set(to)
		q.most, q.ctime = most, seconds()
	}
	t.mu.Unlock()
	if err == nil {
		q.queue.Notify(wait.In | wait.Out)
	}
	return err
}

// MsgStatus is what IPC_STAT tells of a queue: struct msqid_ds.
type MsgStatus struct {
	ID                  int32
	Perm                Perm
	Stime, Rtime, Ctime int64 // seconds since 1970
	Bytes, Count, Most  uint64
	Sender, Receiver    int32
}

func (q *msgQueue) status(id int32) MsgStatus {
	return MsgStatus{id, q.mode, q.stime, q.rtime, q.ctime, q.bytes, uint64(len(q.messages)), q.most, q.sender, q.receiver}
}

// StatMsg is IPC_STAT, MSG_STAT (byIndex) and MSG_STAT_ANY (and anybody).
func (n *Namespace) StatMsg(ctx vfs.Context, id int32, byIndex, anybody bool) (MsgStatus, error) {
	t := &n.msg
	t.mu.Lock()
	defer t.mu.Unlock()
	q, found, err := t.stat(ctx.Creds(), id, byIndex, anybody)
	if err != nil {
		return MsgStatus{}, err
	}
	return q.status(found), nil
}

// AllMsg gives every queue: /proc/sysvipc/msg.
func (n *Namespace) AllMsg() []MsgStatus {
	t := &n.msg
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []MsgStatus
	for i, q := range t.slots {
		if t.used[i] {
			all = append(all, q.status(t.idOf(i)))
		}
	}
	return all
}

// MsgUse is how many queues, messages and bytes there are, and the highest index in
// use: MSG_INFO.
func (n *Namespace) MsgUse() (highest, count, messages int, bytes uint64) {
	t := &n.msg
	t.mu.Lock()
	defer t.mu.Unlock()
	highest, count = t.highest()
	for i, q := range t.slots {
		if t.used[i] {
			messages += len(q.messages)
			bytes += q.bytes
		}
	}
	return highest, count, messages, bytes
}
