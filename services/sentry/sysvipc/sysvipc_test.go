package sysvipc

import (
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// An id of what is gone is not that of what comes next at its index.
func TestIds(t *testing.T) {
	var tab table[*semSet]
	seen := map[int32]bool{}
	for range 100 {
		s := &semSet{}
		id, err := tab.add(s, 10)
		if err != nil || seen[id] {
			t.Fatalf("id %d again, %v", id, err)
		}
		seen[id] = true
		if got, err := tab.find(id); got != s || err != nil {
			t.Fatalf("find: %v", err)
		}
		tab.remove(s)
		if _, err := tab.find(id); err != linux.EINVAL {
			t.Fatalf("find what is gone: %v", err)
		}
	}
	for range 10 {
		if _, err := tab.add(&semSet{}, 10); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tab.add(&semSet{}, 10); err != linux.ENOSPC {
		t.Errorf("one too many: %v", err)
	}
	if _, err := tab.find(3); err != linux.EIDRM {
		t.Errorf("an old id of an index in use: %v", err)
	}
	for _, id := range []int32{-1, idCount - 1, 1<<31 - 1} {
		if _, err := tab.find(id); err == nil {
			t.Errorf("found %d", id)
		}
	}
}

func TestPermissions(t *testing.T) {
	p := newPerm(vfs.UserCreds(1, 10), 5, IPC_CREAT|0o640)
	for _, c := range []struct {
		who   *vfs.Creds
		asked int32
		want  error
	}{
		{vfs.UserCreds(1, 99), 0o600, nil},
		{vfs.UserCreds(2, 10), 0o400, nil},
		{vfs.UserCreds(2, 10), 0o200, linux.EACCES},
		{vfs.UserCreds(2, 99, 10), 0o040, nil},
		{vfs.UserCreds(2, 99), 0o400, linux.EACCES},
		{vfs.UserCreds(2, 99), 0, nil},
		{vfs.RootCreds(), 0o600, nil},
	} {
		err := p.check(c.who, c.asked)
		if err != c.want {
			t.Errorf("uid %d, groups %d %v, %#o: %v, want %v", c.who.EUID, c.who.EGID, c.who.Groups, c.asked, err, c.want)
		}
	}
}

// Operations are done all or not at all, and undone in full.
func TestSemaphoreOperations(t *testing.T) {
	var n Namespace
	var u Undo
	s := &semSet{sems: make([]semaphore, 2)}
	state := func(step string, a, b int32) {
		t.Helper()
		if s.sems[0].value != a || s.sems[1].value != b {
			t.Errorf("%s: %d %d, want %d %d", step, s.sems[0].value, s.sems[1].value, a, b)
		}
	}
	try := func(ops ...Semop) (*int32, error) { return s.try(&u, ops, 1) }
	if blocked, err := try(Semop{0, 3, SEM_UNDO}, Semop{1, 2, 0}); blocked != nil || err != nil {
		t.Fatal(blocked, err)
	}
	state("added", 3, 2)
	if blocked, err := try(Semop{0, -1, SEM_UNDO}, Semop{1, -3, 0}); blocked != &s.sems[1].rising || err != nil {
		t.Error("waits for something else", err)
	}
	state("waits", 3, 2)
	if blocked, _ := try(Semop{0, -1, 0}, Semop{0, 0, 0}); blocked != &s.sems[0].zero {
		t.Error("does not wait for zero")
	}
	if _, err := try(Semop{0, -1, 0}, Semop{1, -3, IPC_NOWAIT}); err != linux.EAGAIN {
		t.Error(err)
	}
	if _, err := try(Semop{0, 1, SEM_UNDO}, Semop{1, SemVMX, 0}); err != linux.ERANGE {
		t.Error(err)
	}
	state("failed", 3, 2)
	n.UndoAll(&u, 1)
	state("undone", 0, 2)
	n.UndoAll(&u, 1)
	state("once only", 0, 2)
}

// Whoever waits for a semaphore is woken for its own only.
func TestSemaphoreWakes(t *testing.T) {
	var n Namespace
	ctx := vfs.KernelContext()
	id, err := n.Semget(ctx, IPC_PRIVATE, 3, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := n.sem.find(id)
	s.sems[1].rising, s.sems[2].zero = 1, 1
	woken := 0
	e := wait.Entry{Mask: wait.In, Wake: func(wait.Events, wait.Sleeper) { woken++ }}
	s.queue.Register(&e)
	defer s.queue.Unregister(&e)
	for i, c := range []struct {
		op    Semop
		wakes int
	}{{Semop{0, 2, 0}, 0}, {Semop{0, -2, 0}, 0}, {Semop{1, 1, 0}, 1}, {Semop{1, -1, 0}, 0}, {Semop{2, 2, 0}, 0}, {Semop{2, -1, 0}, 0}, {Semop{2, -1, 0}, 1}} {
		woken = 0
		if err := n.Semop(ctx, new(Undo), id, []Semop{c.op}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if woken != c.wakes {
			t.Errorf("operation %d %+v: woke %d, want %d", i, c.op, woken, c.wakes)
		}
	}
}

func TestPick(t *testing.T) {
	q := &msgQueue{messages: []message{{kind: 5}, {kind: 3}, {kind: 5}, {kind: 4}}}
	for _, c := range []struct {
		want  int64
		flags int32
		index int
	}{
		{0, 0, 0}, {5, 0, 0}, {3, 0, 1}, {9, 0, -1}, {5, MSG_EXCEPT, 1}, {-4, 0, 1}, {-2, 0, -1},
		{-1 << 63, 0, 1}, {2, MSG_COPY, 2}, {4, MSG_COPY, -1}, {-1, MSG_COPY, -1},
	} {
		if got := q.pick(c.want, c.flags); got != c.index {
			t.Errorf("pick(%d, %#o) = %d, want %d", c.want, c.flags, got, c.index)
		}
	}
}
