package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// The sandbox is a machine with one node of memory, 0, wherever the host's are.
// Policies are checked and remembered, and make no difference: numa(7).

// Policies, and the flags that go with them.
const (
	mpolDefault           = 0
	mpolPreferred         = 1
	mpolBind              = 2
	mpolInterleave        = 3
	mpolLocal             = 4
	mpolPreferredMany     = 5
	mpolWeighedInterleave = 6

	mpolBalancing = 1 << 13
	mpolRelative  = 1 << 14
	mpolStatic    = 1 << 15
	mpolFlags     = mpolBalancing | mpolRelative | mpolStatic

	// What get_mempolicy asks for.
	mpolNode        = 1
	mpolAddr        = 2
	mpolMemsAllowed = 4

	mpolMoveFlags = 7 // of mbind: STRICT, MOVE, MOVE_ALL
)

// copyInNodes reads a set of maxnode-1 nodes, and says whether node 0 is in it.
// EINVAL if there is one that does not exist.
func copyInNodes(t *task.Task, addr mm.Addr, maxnode uint64) (node0 bool, err error) {
	maxnode--
	if addr == 0 || maxnode == 0 || maxnode == ^uint64(0) {
		return false, nil
	}
	if maxnode > mm.PageSize*8 {
		return false, linux.EINVAL
	}
	b := make([]byte, (maxnode+63)/64*8)
	if err := t.CopyIn(addr, b); err != nil {
		return false, err
	}
	for i, v := range b {
		if i == 0 {
			node0, v = v&1 != 0, v&^1
		}
		if v != 0 && uint64(i)*8 < maxnode {
			return false, linux.EINVAL
		}
	}
	return node0, nil
}

// checkPolicy says whether a policy goes with its nodes: EINVAL.
func checkPolicy(policy uint32, node0 bool) error {
	mode, flags := policy&^mpolFlags, policy&mpolFlags
	switch {
	case mode > mpolWeighedInterleave, flags&mpolRelative != 0 && flags&mpolStatic != 0,
		flags&mpolBalancing != 0 && mode != mpolBind && mode != mpolPreferredMany:
		return linux.EINVAL
	case mode == mpolDefault || mode == mpolLocal:
		if node0 || mode == mpolLocal && flags != 0 {
			return linux.EINVAL
		}
	case mode == mpolPreferred:
		if !node0 && flags != 0 {
			return linux.EINVAL
		}
	case !node0:
		return linux.EINVAL
	}
	return nil
}

// set_mempolicy says where the thread's memory is to come from: set_mempolicy(2).
func set_mempolicy(t *task.Task, policy uint32, nodes mm.Addr, maxnode uint64) (uint64, error) {
	node0, err := copyInNodes(t, nodes, maxnode)
	if err != nil {
		return 0, err
	}
	if err := checkPolicy(policy, node0); err != nil {
		return 0, err
	}
	if policy == mpolPreferred && !node0 {
		policy = mpolLocal
	}
	t.SetMemoryPolicy(policy)
	return 0, nil
}

// get_mempolicy tells the thread's policy, or on which node memory is:
// get_mempolicy(2).
func get_mempolicy(t *task.Task, policy, nodes mm.Addr, maxnode uint64, addr mm.Addr, flags uint64) (uint64, error) {
	value, set := t.MemoryPolicy(), uint64(1)
	switch mode := value &^ mpolFlags; {
	case flags&^(mpolNode|mpolAddr|mpolMemsAllowed) != 0, nodes != 0 && maxnode < 1,
		flags&mpolMemsAllowed != 0 && flags != mpolMemsAllowed, flags&mpolAddr == 0 && addr != 0:
		return 0, linux.EINVAL
	case flags == mpolMemsAllowed:
		value = 0
	case flags&mpolAddr != 0:
		if _, ok := t.MM().Find(addr); !ok {
			return 0, linux.EFAULT
		}
		value, set = mpolDefault, 0 // of the memory; with mpolNode, the node
	case flags&mpolNode != 0:
		if mode != mpolInterleave && mode != mpolWeighedInterleave {
			return 0, linux.EINVAL
		}
		value = 0
	case mode == mpolDefault, mode == mpolLocal:
		set = 0
	}
	if policy != 0 {
		if err := t.CopyOutLater(policy, le32(value)); err != nil {
			return 0, err
		}
	}
	if nodes == 0 {
		return 0, nil
	}
	b := make([]byte, min(maxnode+62, mm.PageSize*8)/64*8)
	if len(b) == 0 {
		return 0, nil
	}
	binary.LittleEndian.PutUint64(b, set)
	return 0, t.CopyOutLater(nodes, b)
}

// mbind is set_mempolicy for a range of memory: mbind(2).
func mbind(t *task.Task, addr mm.Addr, length uint64, policy uint32, nodes mm.Addr, maxnode uint64, flags uint32) (uint64, error) {
	node0, err := copyInNodes(t, nodes, maxnode)
	switch {
	case err != nil:
		return 0, err
	case flags&^mpolMoveFlags != 0, addr%mm.PageSize != 0:
		return 0, linux.EINVAL
	}
	if err := checkPolicy(policy, node0); err != nil {
		return 0, err
	}
	if length > 0 && !t.MM().Covered(addr, length) {
		return 0, linux.EFAULT
	}
	return 0, nil
}

// set_mempolicy_home_node prefers a node of those that mbind has named.
func set_mempolicy_home_node(t *task.Task, addr mm.Addr, length, node, flags uint64) (uint64, error) {
	if addr%mm.PageSize != 0 || flags != 0 || node != 0 {
		return 0, linux.EINVAL
	}
	return 0, nil
}

// migrate_pages moves a process's memory to other nodes, of which there are none:
// migrate_pages(2).
func migrate_pages(t *task.Task, pid int32, maxnode uint64, from, to mm.Addr) (uint64, error) {
	for _, set := range [...]mm.Addr{from, to} {
		if _, err := copyInNodes(t, set, maxnode); err != nil {
			return 0, err
		}
	}
	_, err := ofProcess(t, pid)
	return 0, err
}

// ofProcess gives a process that the caller may look into, 0 being its own.
func ofProcess(t *task.Task, pid int32) (*task.Task, error) {
	o := t
	if pid != 0 {
		o = t.Named(pid)
	}
	if o == nil || o.MM() == nil {
		return nil, linux.ESRCH
	}
	return o, t.MayInspect(o)
}

// move_pages tells on which node pages are, or has them moved: move_pages(2).
func move_pages(t *task.Task, pid int32, count uint64, pages, nodes, status mm.Addr, flags uint32) (uint64, error) {
	const moveFlags, most = 6, 1 << 20
	if flags&^moveFlags != 0 {
		return 0, linux.EINVAL
	}
	o, err := ofProcess(t, pid)
	if err != nil {
		return 0, err
	}
	if count > most {
		return 0, linux.E2BIG
	}
	addrs := make([]byte, 8*count)
	if err := t.CopyIn(pages, addrs); err != nil {
		return 0, err
	}
	wanted := make([]byte, 4*count)
	if nodes != 0 {
		if err := t.CopyIn(nodes, wanted); err != nil {
			return 0, err
		}
	}
	le, out := binary.LittleEndian, make([]byte, 4*count)
	for i := range count {
		if le.Uint32(wanted[4*i:]) != 0 {
			return 0, linux.ENODEV
		}
		if _, ok := o.MM().Find(le.Uint64(addrs[8*i:])); !ok {
			le.PutUint32(out[4*i:], ^uint32(linux.EFAULT)+1)
		}
	}
	return 0, t.CopyOut(status, out)
}
