package unix

import (
	"sync"
	"time"

	"bulkhead/services/sentry/vfs"
)

// maxFlight is how many files may be in messages at a time, but for
// CAP_SYS_RESOURCE: ETOOMANYREFS of unix(7).
const maxFlight = 16384

// inFlight counts the references to files that are in messages. Sockets among them
// may be in each other's inboxes, or in their own, with nobody left to read them;
// collect finds those.
var inFlight = struct {
	mu      sync.Mutex
	total   int
	sockets map[*vfs.File]int
	// rest is until when nothing is collected, due that a timer will then.
	rest time.Time
	due  bool

	collecting sync.Mutex
}{sockets: map[*vfs.File]int{}}

// Each socket that is closed has all in flight looked at. Where those are so many that
// it takes longLook, that is done for one part in restShare of the time at most.
const (
	longLook  = 100 * time.Microsecond
	restShare = 20
)

// flight adds d for each of files.
func flight(files []*vfs.File, d int) {
	if len(files) == 0 {
		return
	}
	inFlight.mu.Lock()
	defer inFlight.mu.Unlock()
	inFlight.total += d * len(files)
	for _, f := range files {
		if _, ok := f.Impl().(*Socket); !ok {
			continue
		}
		if inFlight.sockets[f] += d; inFlight.sockets[f] == 0 {
			delete(inFlight.sockets, f)
		}
	}
}

func tooMuchFlight(more int) bool {
	inFlight.mu.Lock()
	defer inFlight.mu.Unlock()
	return inFlight.total+more > maxFlight
}

// collect empties the inboxes of sockets that nobody can reach: all references to
// them are in messages, and those messages in inboxes of such sockets. A reference
// that is just being sent or received is counted as held by somebody, or is missing
// from the inboxes, and both keep the socket.
//
// It rests after a long look; a timer makes up for what was asked meanwhile.
func collect() {
	if !mayCollect() || !inFlight.collecting.TryLock() {
		return
	}
	began := time.Now()
	after := closing{files: garbage()}
	if took := time.Since(began); took > longLook {
		inFlight.mu.Lock()
		inFlight.rest = time.Now().Add(restShare * took)
		inFlight.mu.Unlock()
	}
	inFlight.collecting.Unlock()
	after.run()
}

// mayCollect says whether there may be something to collect, and it is not too early.
func mayCollect() bool {
	inFlight.mu.Lock()
	defer inFlight.mu.Unlock()
	if len(inFlight.sockets) == 0 || inFlight.due {
		return false
	}
	if inFlight.rest.IsZero() {
		return true
	}
	early := time.Until(inFlight.rest)
	if early <= 0 {
		inFlight.rest = time.Time{}
		return true
	}
	inFlight.due = true
	time.AfterFunc(early, func() {
		inFlight.mu.Lock()
		inFlight.due = false
		inFlight.mu.Unlock()
		collect()
	})
	return false
}

// garbage gives the files of unreachable inboxes, whose references are the caller's
// to drop.
func garbage() (files []*vfs.File) {
	candidates := map[*vfs.File]int{}
	inFlight.mu.Lock()
	for f, n := range inFlight.sockets {
		if f.Refs() == int64(n) {
			candidates[f] = n
		}
	}
	inFlight.mu.Unlock()

	holds := map[*vfs.File][]*vfs.File{} // the candidates in a candidate's inboxes
	inside := map[*vfs.File]int{}        // how often one is in those
	for f := range candidates {
		for _, g := range f.Impl().(*Socket).held() {
			if _, ok := candidates[g]; ok {
				holds[f] = append(holds[f], g)
				inside[g]++
			}
		}
	}
	var reach func(f *vfs.File)
	reach = func(f *vfs.File) {
		if _, ok := candidates[f]; ok {
			delete(candidates, f)
			for _, g := range holds[f] {
				reach(g)
			}
		}
	}
	for f, n := range candidates {
		if inside[f] < n {
			reach(f)
		}
	}
	inFlight.mu.Lock()
	for f, n := range candidates {
		if inFlight.sockets[f] != n || f.Refs() != int64(n) { // somebody has it after all
			reach(f)
		}
	}
	inFlight.mu.Unlock()
	for f := range candidates {
		for _, s := range f.Impl().(*Socket).withPending() {
			s.mu.Lock()
			files = append(files, s.mu.inbox.drain()...)
			s.mu.Unlock()
		}
	}
	return files
}

// withPending is s and the connections that wait for it to accept them.
func (s *Socket) withPending() []*Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Socket{s}, s.mu.pending...)
}

// held lists the files in the inboxes of s.
func (s *Socket) held() (files []*vfs.File) {
	for _, s := range s.withPending() {
		s.mu.Lock()
		for m := s.mu.inbox.head; m != nil; m = m.next {
			files = append(files, m.files...)
		}
		s.mu.Unlock()
	}
	return files
}
