package cgroupfs

// freezer is what cgroup.freeze is about.
type freezer struct {
	freeze         bool // what is written here
	freezes        int  // of the groups from here up
	frozen         bool // all that is in here stands still, and below
	frozenChildren int
	resting        int // threads of the members that stand still
}

// setFreeze is writing cgroup.freeze.
func (c *Cgroup) setFreeze(on bool) {
	h := c.h
	h.mu.Lock()
	var told []Process
	if c.freeze != on {
		by := 1
		if !on {
			by = -1
		}
		c.freeze = on
		c.each(func(c *Cgroup) {
			was := c.freezes > 0
			if c.freezes += by; (c.freezes > 0) == was {
				return
			}
			for p := range c.members {
				p.Place().freeze.Store(!was)
				told = append(told, p)
			}
		})
		c.refreezeLocked()
		c.frozenLocked()
	}
	h.mu.Unlock()
	for _, p := range told {
		p.Heed()
	}
}

// refreezeLocked looks at all below c anew, the lowest first.
func (c *Cgroup) refreezeLocked() {
	for _, child := range c.children {
		child.refreezeLocked()
		child.frozenLocked()
	}
}

// frozenLocked looks whether all in c stands still, and tells those above if that is new.
func (c *Cgroup) frozenLocked() {
	for ; c != nil; c = c.parent {
		now := c.freezes > 0 && c.resting >= c.threads && c.frozenChildren >= len(c.children)
		if now == c.frozen {
			return
		}
		c.frozen = now
		c.changedLocked("cgroup.events")
		if c.parent == nil || c.dead {
			return
		}
		if now {
			c.parent.frozenChildren++
		} else {
			c.parent.frozenChildren--
		}
	}
}
