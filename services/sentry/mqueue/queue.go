package mqueue

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Limits of a queue: /proc/sys/fs/mqueue, and those that CAP_SYS_RESOURCE has.
const (
	DefaultMessages = 10
	DefaultSize     = 8192
	MaxMessages     = 10
	MaxSize         = 8192
	HardMessages    = 65536
	HardSize        = 16 << 20
	MaxQueues       = 256
	MaxPriority     = 32768 // exclusive

	// total is the most that the queues of a FileSystem may hold in all, in bytes:
	// guests that are root are bound by nothing else.
	total = 128 << 20
	// What a message costs beside its text, as RLIMIT_MSGQUEUE counts it.
	messageCost = 8
	nodeCost    = 48
)

// Attr is a queue's measures: struct mq_attr.
type Attr struct{ Messages, Size int64 }

// cost is what a queue counts for: getrlimit(2), RLIMIT_MSGQUEUE.
func (a Attr) cost() uint64 {
	return uint64(a.Messages)*messageCost + uint64(min(a.Messages, MaxPriority))*nodeCost + uint64(a.Messages)*uint64(a.Size)
}

// check says whether a queue may be as large: EINVAL, EOVERFLOW.
func (a Attr) check(c *vfs.Creds) error {
	most, size := int64(MaxMessages), int64(MaxSize)
	if c.Has(linux.CAP_SYS_RESOURCE) {
		most, size = HardMessages, HardSize
	}
	if a.Messages <= 0 || a.Size <= 0 || a.Messages > most || a.Size > size {
		return linux.EINVAL
	}
	return nil
}

type message struct {
	priority uint32
	text     []byte
}

// Notice is who is to be told of a message that comes to an empty queue: mq_notify(3).
type Notice struct {
	Owner  int32 // the process
	Signal int32 // 0 if none is sent
	// Tell is called once, with who sent the message. It may not block.
	Tell func(pid int32, uid uint32)
	// Gone is called if the registration ends without a message.
	Gone func()
}

// Queue is a message queue: the node in the file system.
type Queue struct {
	fs    *FileSystem
	attr  Attr
	owner uint32 // whose limit it counts against
	queue wait.Queue

	mu        sync.Mutex
	meta      vfs.Attr
	messages  []message // the first to be received first
	bytes     int
	receivers int // that wait
	notice    *Notice
	unlinked  bool
	opens     int
}

// Measures are the queue's.
func (q *Queue) Measures() Attr { return q.attr }

// Len is how many messages there are.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// Send puts a message behind those of its priority, which keeps text, and waits for
// room until the deadline if block: mq_timedsend(2). EMSGSIZE, EAGAIN, ETIMEDOUT.
func (q *Queue) Send(ctx vfs.Context, text []byte, priority uint32, block bool, deadline time.Time) error {
	if int64(len(text)) > q.attr.Size {
		return linux.EMSGSIZE
	}
	var notice *Notice
	err := wait.Until(ctx, &q.queue, wait.Out, deadline, func() (bool, error) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if int64(len(q.messages)) >= q.attr.Messages {
			return !block, linux.EAGAIN
		}
		at := len(q.messages)
		for at > 0 && q.messages[at-1].priority < priority {
			at--
		}
		if len(q.messages) == 0 && q.receivers == 0 {
			notice, q.notice = q.notice, nil
		}
		q.messages = slices.Insert(q.messages, at, message{priority, text})
		q.bytes += len(text)
		return true, nil
	})
	if err != nil {
		return err
	}
	q.queue.Notify(wait.In)
	if notice != nil {
		notice.Tell(ctx.TGID(), ctx.Creds().UID)
	}
	return nil
}

// Receive takes the first message, of at most size bytes, which must be what the
// queue's may have: mq_timedreceive(2). EMSGSIZE, EAGAIN, ETIMEDOUT.
func (q *Queue) Receive(ctx vfs.Context, size uint64, block bool, deadline time.Time) (text []byte, priority uint32, err error) {
	if size < uint64(q.attr.Size) {
		return nil, 0, linux.EMSGSIZE
	}
	waiting := false
	err = wait.Until(ctx, &q.queue, wait.In, deadline, func() (bool, error) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.messages) == 0 {
			if block && !waiting {
				waiting = true
				q.receivers++
			}
			return !block, linux.EAGAIN
		}
		m := q.messages[0]
		q.messages = slices.Delete(q.messages, 0, 1)
		q.bytes -= len(m.text)
		text, priority = m.text, m.priority
		return true, nil
	})
	if waiting {
		q.mu.Lock()
		q.receivers--
		q.mu.Unlock()
	}
	if err == nil {
		q.queue.Notify(wait.Out)
	}
	return text, priority, err
}

// Notify registers who is to be told, or with nil ends the registration that process
// pid has: mq_notify(3). EBUSY.
func (q *Queue) Notify(n *Notice, pid int32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case n == nil:
		q.forgetLocked(pid)
	case q.notice != nil:
		return linux.EBUSY
	default:
		q.notice = n
	}
	return nil
}

// forgetLocked ends the registration of a process.
func (q *Queue) forgetLocked(pid int32) {
	if n := q.notice; n != nil && n.Owner == pid {
		q.notice = nil
		n.Gone()
	}
}

// text is what read(2) tells of a queue: mq_overview(7).
func (q *Queue) text() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var kind, sig, pid int32
	if q.notice != nil {
		if pid, sig = q.notice.Owner, q.notice.Signal; sig == 0 {
			kind = 1
		}
	}
	return fmt.Sprintf("QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", q.bytes, kind, sig, pid)
}

// Attr implements vfs.Node.
func (q *Queue) Attr(vfs.Context) (vfs.Attr, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.meta, nil
}

// SetAttr implements vfs.Node.
func (q *Queue) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	setAttr(&q.meta, s)
	return nil
}

// Open implements vfs.Opener.
func (q *Queue) Open(vfs.Context, linux.OpenFlags) (vfs.Impl, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.opens++
	return &Descriptor{q}, nil
}

// Descriptor is an open queue: what mq_open(3) gives.
type Descriptor struct{ of *Queue }

// Release lets go of the queue, which ends with its name and its last descriptor.
func (d *Descriptor) Release() {
	d.of.mu.Lock()
	d.of.opens--
	d.of.mu.Unlock()
	d.of.fs.settle(d.of)
}

// Flush ends the registration of a process that closes a descriptor.
func (d *Descriptor) Flush(ctx vfs.Context) error {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	d.of.forgetLocked(ctx.TGID())
	return nil
}

// ReadAt tells of the queue.
func (d *Descriptor) ReadAt(_ vfs.Context, p []byte, off int64) (int, error) {
	text := d.of.text()
	if off >= int64(len(text)) {
		return 0, nil
	}
	return copy(p, text[off:]), nil
}

// Poll is whether something can be received, and sent.
func (d *Descriptor) Poll() (ev wait.Events) {
	q := d.of
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) > 0 {
		ev |= wait.In
	}
	if int64(len(q.messages)) < q.attr.Messages {
		ev |= wait.Out
	}
	return ev
}

// Queue implements vfs.Poller.
func (d *Descriptor) Queue() *wait.Queue { return &d.of.queue }

// Of is the queue that is open.
func (d *Descriptor) Of() *Queue { return d.of }
