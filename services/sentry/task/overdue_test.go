package task

import (
	"testing"
	"time"
)

// A thread that must end has the longer time only if another executes a program once the
// shorter one is over.
func TestPatience(t *testing.T) {
	const kick, exec = 20 * time.Millisecond, 200 * time.Millisecond
	for _, execing := range []bool{false, true} {
		k := &Kernel{}
		o := &Task{k: k, group: &Group{k: k}}
		if execing {
			o.group.execing = &Task{}
		}
		began, ended := time.Now(), make(chan time.Duration, 1)
		asked := 0
		patience{kick, exec}.run(func() bool { asked++; return o.execingMeanwhile() }, func() { ended <- time.Since(began) })
		least := kick
		if execing {
			least += exec
		}
		select {
		case after := <-ended:
			if after < least || asked != 1 {
				t.Errorf("execing %v: ended after %v, least %v; asked %d times", execing, after, least, asked)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("execing %v: never ended", execing)
		}
	}
}

// Who does not have to end is given no time, and who has to by a signal or a kill is.
func TestMustEnd(t *testing.T) {
	k := &Kernel{}
	o := &Task{k: k, group: &Group{k: k}}
	if _, must := o.mustEnd(); must {
		t.Error("nothing has come, and it must end")
	}
	o.killed.Store(true)
	if status, must := o.mustEnd(); !must || status != 9 {
		t.Errorf("killed: %d, %v", status, must)
	}
}
