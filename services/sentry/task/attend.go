package task

import (
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/wait"
)

// A task's calls are served by a coroutine of its own: it stops where the task waits,
// for the guest's next request or in a sleep, and is gone on with by whoever sees that
// the wait is over. That is an attendant: a goroutine, and so a host thread, that looks
// for several tasks at a time. A task that is woken by another's call is run by that
// one's attendant when the call is over, without a switch to another host thread; and
// that attendant looks for its next request too. So a ping-pong between two processes,
// or a child that is waited for, needs one host thread of the sentry, which need not
// sleep in between.
//
// Each task is in one of three states, which Task.at.seat says:
//
//	being served, by one attendant only
//	  -> looked for by an attendant, or by nobody     it waits (attendant.serve)
//	looked for by an attendant
//	  -> being served                                 it can go on, and this one, or
//	                                                  who woke it, has claimed it
//	  -> looked for by nobody                         there was nothing for a while
//	looked for by nobody
//	  -> being served                                 who woke it, or the doorbell,
//	                                                  has claimed it
//
// Whoever takes a look away looks once more afterwards, and whoever makes a task
// ready does so before it looks who has it: one of the two sees it.

// attendant is what one goroutine looks for. Only that touches it, but for state.
type attendant struct {
	ready   []*Task // claimed: to be served
	watched []*Task // looked for, if they still are this one's
	limit   time.Duration
	state   atomic.Int32

	// Where those watched are: asleep in a call; in the guest; and there, with a stub
	// that rings the doorbell if nothing comes of its request.
	dozing, asking, near seat
}

// The values of attendant.state.
const (
	away    = iota
	looking // it sees by itself who of those watched can go on
	robbed  // somebody claims one of them
)

// seat is where a task waits.
type seat struct{ of *attendant }

func newAttendant() *attendant {
	a := &attendant{ready: make([]*Task, 0, mostWatched), watched: make([]*Task, 0, mostWatched)}
	a.dozing.of, a.asking.of, a.near.of = a, a, a
	return a
}

const (
	// mostWatched is how many tasks one attendant looks for.
	mostWatched = 4
	// requestSpan is how long an attendant looks for requests.
	requestSpan = 100 * time.Microsecond
)

// serving is where a task is while it is being served.
var serving = new(seat)

// attended is a task's part of it.
type attended struct {
	seat     atomic.Pointer[seat]    // nil: nobody looks
	dozes    atomic.Bool             // it waits in a sleep, not for a request
	woken    atomic.Bool             // the sleep may be over, or the doorbell was rung
	resume   func() (struct{}, bool) // goes on with the coroutine until it stops
	stop     func(struct{}) bool     // stops it: for the coroutine itself
	span     time.Duration           // how long it pays to look for what it waits for
	rings    bool                    // its stub was told to ring, and is not to while t is served
	attender *attendant              // who serves it, while somebody does
}

// prepareServing makes the coroutine, which counts as being served.
func (t *Task) prepareServing(body func()) {
	t.at.resume, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.at.stop = yield
		body()
	})
	t.at.seat.Store(serving)
	t.at.span = requestSpan
	t.listen(t.th)
}

// listen has the task told of what th's stub wants while nobody looks for it, and what
// it has itself to do when that takes long.
func (t *Task) listen(th *platform.Thread) {
	th.OnRing(t.rung)
	th.OnLong(t.shed)
	th.OnMail(t.takeMail)
}

// rung is told that the doorbell was rung while t had a request, or that t's process
// is gone.
func (t *Task) rung() {
	t.at.woken.Store(true)
	t.rouse(nil)
}

// start has body run, by an attendant of its own.
func (t *Task) start(body func()) {
	t.prepareServing(body)
	go attend(t)
}

// startBeside has body run when c, a new thread, has a request, which t's attendant
// looks for when t's call is over.
func (t *Task) startBeside(c *Task) {
	c.prepareServing(c.run)
	a := t.at.attender
	if len(a.watched)+len(a.ready) >= mostWatched-1 { // t comes too
		go attend(c)
		return
	}
	c.ringIfLong()
	a.limit = max(a.limit, requestSpan)
	a.watched = append(a.watched, c)
	c.at.seat.Store(&a.near)
}

// ringIfLong has the stub of t, which is claimed, ring the doorbell if nothing comes of
// its request.
func (t *Task) ringIfLong() {
	t.at.rings = true
	t.th.Near()
}

// attend looks for t, which is claimed, and whoever comes to it, as long as there is
// something to do.
func attend(t *Task) {
	a := newAttendant()
	a.ready = append(a.ready, t)
	for {
		for len(a.ready) > 0 {
			a.serve()
		}
		if !a.look() {
			return
		}
	}
}

// serve has one that is ready go on until it waits. If there are others, they need
// not wait for that.
func (a *attendant) serve() {
	t := a.ready[0]
	for _, other := range a.ready[1:] {
		go attend(other)
	}
	a.ready = a.ready[:0]
	for _, other := range a.watched {
		if other.at.seat.CompareAndSwap(&a.asking, serving) {
			other.at.woken.Store(false)
			other.ringIfLong()
			other.at.seat.Store(&a.near)
			if other.at.woken.Load() && other.at.seat.CompareAndSwap(&a.near, serving) {
				go attend(other)
			}
		}
	}
	t.at.attender = a
	if t.at.rings {
		t.at.rings = false
		t.th.Attended()
	}
	if _, more := t.at.resume(); more {
		a.watch(t)
	}
}

// watch begins to look for t, whose coroutine waits.
func (a *attendant) watch(t *Task) {
	a.limit = max(a.limit, t.at.span)
	if !slices.Contains(a.watched, t) { // from before, when another claimed it
		a.watched = append(a.watched, t)
	}
	if t.at.dozes.Load() {
		t.at.seat.Store(&a.dozing)
	} else {
		t.at.seat.Store(&a.asking)
	}
}

// look looks for what those watched wait for. False: there is nothing left to look for.
func (a *attendant) look() bool {
	for !a.state.CompareAndSwap(away, looking) {
		runtime.Gosched()
	}
	y := platform.Yielder{Idle: true}
	spins := 0
	if platform.BeginSpin() && a.limit > 0 && a.apart() {
		spins = platform.SpinBursts
	}
	found := a.spin(spins)
	platform.EndSpin()
	for began := time.Now(); !found && time.Since(began) < a.limit && !y.Crowded(); found = a.claimReady() {
		y.Yield()
	}
	y.Done(found)
	a.state.Store(away)
	a.limit = 0
	if a.claimReady() || found {
		return true
	}
	return a.rest()
}

// apart says whether those whose requests are looked for are on other cores.
func (a *attendant) apart() bool {
	for _, t := range a.watched {
		if a.asks(t) && t.th.Apart() {
			return true
		}
	}
	return false
}

// asks says that t is here and in the guest. Nobody else claims such a one while a is
// looking.
func (a *attendant) asks(t *Task) bool {
	at := t.at.seat.Load()
	return at == &a.asking || at == &a.near
}

// spin looks without giving way.
func (a *attendant) spin(bursts int) bool {
	if a.claimReady() {
		return true
	}
	for range bursts {
		for _, t := range a.watched {
			if a.asks(t) {
				t.th.Spin()
			}
		}
		if a.claimReady() {
			return true
		}
	}
	return false
}

// claimReady claims all that can go on, and forgets those that others have claimed.
func (a *attendant) claimReady() bool {
	kept := a.watched[:0]
	for _, t := range a.watched {
		at, can := t.at.seat.Load(), false
		switch at {
		case &a.dozing:
			can = t.at.woken.Load()
		case &a.asking, &a.near:
			can = len(a.ready) == 0 && t.th.Asks() // others are next
		default:
			continue
		}
		if !can {
			kept = append(kept, t)
		} else if t.at.seat.CompareAndSwap(at, serving) {
			a.ready = append(a.ready, t)
		}
	}
	clear(a.watched[len(kept):])
	a.watched = kept
	return len(a.ready) > 0
}

// rest looks for requests with its thread asleep, and leaves sleepers to those who wake
// them. False: there is nobody left to look for.
func (a *attendant) rest() bool {
	var inGuest [mostWatched]*Task
	var threads [mostWatched]*platform.Thread
	n := 0
	for _, t := range a.watched {
		switch {
		case t.at.seat.CompareAndSwap(&a.dozing, serving):
			a.leave(t)
		case a.claimAsking(t):
			if n == mostWatched {
				a.leave(t)
				continue
			}
			inGuest[n], threads[n] = t, t.th
			n++
		}
	}
	clear(a.watched)
	a.watched = a.watched[:0]
	if n > 0 && len(a.ready) == 0 {
		platform.Drowse(threads[:n])
	}
	asked := len(a.ready) > 0
	for _, t := range inGuest[:n] {
		asked = asked || t.th.Asks()
	}
	for _, t := range inGuest[:n] {
		switch {
		case !asked:
			a.leave(t)
		case len(a.ready) == 0 && t.th.Asks():
			t.at.rings = true // or drowses
			a.ready = append(a.ready, t)
		default:
			a.watched = append(a.watched, t)
			t.ringIfLong()
			t.at.seat.Store(&a.near)
		}
	}
	return len(a.ready) > 0
}

func (a *attendant) claimAsking(t *Task) bool {
	return t.at.seat.CompareAndSwap(&a.asking, serving) || t.at.seat.CompareAndSwap(&a.near, serving)
}

// leave has nobody look for t, which is claimed, unless it can go on by now.
func (a *attendant) leave(t *Task) {
	if t.at.dozes.Load() {
		t.th.Patience()
		t.at.seat.Store(nil)
		if t.at.woken.Load() && t.at.seat.CompareAndSwap(nil, serving) {
			a.ready = append(a.ready, t)
		}
		return
	}
	t.at.woken.Store(false)
	t.at.rings = true
	t.th.Unattended()
	if t.th.Asks() {
		a.ready = append(a.ready, t)
		return
	}
	t.at.seat.Store(nil)
	if t.at.woken.Load() && t.at.seat.CompareAndSwap(nil, serving) {
		a.ready = append(a.ready, t) // the doorbell was rung before
	}
}

// shed leaves the others that t's attendant has: t is about to wait for long, without
// its attendant's being free meanwhile.
func (t *Task) shed() {
	a := t.at.attender
	if a == nil {
		return
	}
	for _, other := range a.ready {
		go attend(other)
	}
	a.ready = a.ready[:0]
	for _, other := range a.watched {
		if other.at.seat.CompareAndSwap(&a.dozing, serving) || a.claimAsking(other) {
			a.leave(other)
		}
	}
	clear(a.watched)
	a.watched = a.watched[:0]
	for _, other := range a.ready {
		go attend(other)
	}
	a.ready = a.ready[:0]
}

// rouse has t go on, if it waits: with by's attendant when by's call is over, or
// with one of its own.
func (t *Task) rouse(by *Task) {
	for claimed := false; !claimed; {
		switch at := t.at.seat.Load(); {
		case at == serving:
			return // it looks before it waits
		case at == nil:
			claimed = t.at.seat.CompareAndSwap(nil, serving)
		case at == &at.of.dozing:
			if by == nil && at.of.state.Load() == looking {
				return
			}
			claimed = t.at.seat.CompareAndSwap(at, serving)
		case at.of.state.Load() == looking:
			return
		case at.of.state.CompareAndSwap(away, robbed):
			claimed = t.at.seat.CompareAndSwap(at, serving)
			at.of.state.Store(away)
		}
	}
	if by != nil {
		if a := by.at.attender; a != nil && len(a.ready) == 0 && len(a.watched) < mostWatched-1 {
			a.ready = append(a.ready, t)
			return
		}
	}
	go attend(t)
}

// awaitRequest waits until there is something for the thread's Next to give, or for
// Next itself to wait for.
func (t *Task) awaitRequest() {
	for t.awaitSomething(); t.th.Mail(); t.awaitSomething() {
		t.takeMail()
	}
}

// awaitSomething is awaitRequest, and letters count too.
func (t *Task) awaitSomething() {
	if t.th.AwaitsHost() {
		t.shed()
		return
	}
	t.at.span = requestSpan
	if a := t.at.attender; len(a.watched)+len(a.ready) == 0 {
		if t.th.Linger() { // with nobody else to look for
			return
		}
		t.at.span = 0
	} else {
		t.th.Meet()
	}
	for !t.th.Asks() {
		t.at.stop(struct{}{})
		t.at.span = requestSpan
	}
}

// Park implements wait.Parker.
func (t *Task) Park(c <-chan struct{}) error {
	if t.at.attender == nil {
		return t.Sleep(c, time.Time{}) // nobody runs it: NewDetached
	}
	t.state.Store(sleeping)
	defer t.state.Store(inKernel)
	began := time.Now()
	t.at.dozes.Store(true)
	defer t.at.dozes.Store(false)
	for {
		t.at.woken.Store(false)
		select {
		case <-c:
			t.eager.ended(time.Since(began))
			return nil
		default:
		}
		if t.attention.Load() && t.wantsInterrupt() {
			return linux.ERESTARTSYS
		}
		t.at.span = t.eager.limit()
		t.at.stop(struct{}{})
	}
}

// Unpark implements wait.Parker.
func (t *Task) Unpark(by wait.Sleeper) {
	t.at.woken.Store(true)
	waker, _ := by.(*Task)
	t.rouse(waker)
}
