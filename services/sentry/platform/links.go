package platform

import (
	"encoding/binary"
	"sync/atomic"
)

// To find a file's true name, realpath(3) asks of each directory on the way whether it is
// a symbolic link, for each file again: 45 % of a make's calls are readlink(2) of a
// dozen directories. That a path leads to something which is none, or nowhere, is noted in
// the slot, once it has been asked twice, and the stub answers EINVAL or ENOENT
// (link_amd64.h), and ENOENT to openat(2) and newfstatat(2) too of what is not there. It lasts until anything has happened that could make it untrue, which
// says so first (vfs.Remember).
//
// A record is one of two, by the path's hash. It has that, and a number that has to be that in slotLinks. The guest can
// write to both: it is told what it has made up.

const (
	linkRecords = 64 // a power of two
	linkRecord  = 96 // bytes of each
	linkHash    = 0  // u64: LinkHash
	linkNumber  = 8  // u32
	linkKind    = 12 // u32: linkNone or linkAbsent
	linkPath    = 16 // LinkName bytes, zeros at the end

	// LinkName is how long a path can be in a record, with a NUL at its end.
	LinkName = linkRecord - linkPath

	linkSeed   = 0x2545_f491_4f6c_dd1d
	linkFactor = 0x5851_f42d_4c95_7f2d // odd
)

// LinkHash is the hash of a path shorter than LinkName.
func LinkHash(path string) uint64 {
	h := uint64(linkSeed)
	for i := 0; i <= len(path); i += 8 {
		var word [8]byte
		copy(word[:], path[i:])
		h = (h ^ binary.LittleEndian.Uint64(word[:])) * linkFactor
		h ^= h >> 32
	}
	return h
}

// NoLink notes that a path shorter than LinkName, whose hash is given, leads to something
// that is no symbolic link, or to nothing. For the thread's own goroutine, while nobody
// calls ForgetLinks of that kind.
func (th *Thread) NoLink(path string, hash uint64, absent bool) {
	if !th.hold() {
		return
	}
	defer th.space.mu.Unlock()
	s := th.slot
	if th.links == [2]uint32{} { // the slot may have been another thread's
		clear(s.mem[slotLinkTable:slotSize])
	}
	kind := boolWord(absent)
	if th.links[kind] == 0 {
		th.links[kind] = 1
	}
	at := th.linkPlace(hash)
	name := s.mem[at+linkPath:][:LinkName]
	clear(name[copy(name[:LinkName-1], path):])
	s.store(at+linkHash, hash)
	atomic.StoreUint32(s.word(at+linkKind), kind)
	atomic.StoreUint32(s.word(at+linkNumber), th.links[kind])
	atomic.StoreUint32(s.word(slotLinks+4*int(kind)), th.links[kind])
}

// linkPlace is where a record of that hash goes: where one is, or where none is good, or to
// its second place.
func (th *Thread) linkPlace(hash uint64) int {
	s, first := th.slot, int(hash%linkRecords)
	for _, i := range []int{first, first ^ 1} {
		if at := slotLinkTable + i*linkRecord; s.load(at+linkHash) == hash {
			return at
		}
	}
	at := slotLinkTable + first*linkRecord
	kind, number := atomic.LoadUint32(s.word(at+linkKind)), atomic.LoadUint32(s.word(at+linkNumber))
	if kind < 2 && number != 0 && number == th.links[kind] {
		at = slotLinkTable + (first^1)*linkRecord
	}
	return at
}

// ForgetLinks forgets all that NoLink has noted of that kind. Any goroutine may call it.
func (th *Thread) ForgetLinks(absent bool) {
	if !th.hold() {
		return
	}
	defer th.space.mu.Unlock()
	kind := boolWord(absent)
	if th.links[kind] == 0 {
		return
	}
	if th.links[kind]++; th.links[kind] == 0 {
		th.links[kind] = 1
		clear(th.slot.mem[slotLinkTable:slotSize])
	}
	atomic.StoreUint32(th.slot.word(slotLinks+4*int(kind)), th.links[kind])
}
