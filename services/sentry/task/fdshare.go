package task

// UnshareFDs gives the thread a descriptor table of its own, with the same files
// in it: CLOSE_RANGE_UNSHARE, unshare(CLONE_FILES).
func (t *Task) UnshareFDs() {
	ft := t.fds.Load()
	if !ft.Shared() {
		return
	}
	t.fds.Store(ft.Fork())
	ft.release(t)
}
