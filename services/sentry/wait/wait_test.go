package wait

import (
	"testing"
	"time"
)

// parker sleeps in a channel of its own, which Unpark fills.
type parker struct {
	parked, over chan struct{}
	by           []Sleeper
	slept        bool
}

func (p *parker) Sleep(c <-chan struct{}, _ time.Time) error {
	p.slept = true
	<-c
	return nil
}

func (p *parker) Park(c <-chan struct{}) error {
	p.parked <- struct{}{}
	<-p.over
	<-c // delivered before
	return nil
}

func (p *parker) Unpark(by Sleeper) {
	p.by = append(p.by, by)
	p.over <- struct{}{}
}

// TestUntil_parks: a sleep without a deadline is a Park, and who wakes is told of.
func TestUntil_parks(t *testing.T) {
	p, waker := &parker{parked: make(chan struct{}), over: make(chan struct{}, 1)}, &parker{}
	var q Queue
	ready := false
	end := make(chan error)
	go func() {
		end <- Until(p, &q, In, time.Time{}, func() (bool, error) { return ready, nil })
	}()
	<-p.parked
	ready = true
	q.NotifyBy(waker, Out) // which it does not listen for
	q.NotifyBy(waker, In)
	if err := <-end; err != nil {
		t.Fatal(err)
	}
	if p.slept || len(p.by) != 1 || p.by[0] != Sleeper(waker) {
		t.Fatalf("slept %v, woken by %v", p.slept, p.by)
	}
}

// TestUntil_deadline: one with a deadline is a Sleep.
func TestUntil_deadline(t *testing.T) {
	p := &parker{over: make(chan struct{}, 1)}
	var q Queue
	tries := 0
	err := Until(p, &q, In, time.Now().Add(time.Hour), func() (bool, error) {
		if tries++; tries == 2 {
			go q.Notify(In)
		}
		return tries == 3, nil
	})
	if err != nil || !p.slept {
		t.Fatalf("slept %v, %v", p.slept, err)
	}
}
