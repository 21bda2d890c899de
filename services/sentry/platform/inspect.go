package platform

// ForgetCopies drops what the stub copied in with the request: somebody may have
// changed the memory since.
func (th *Thread) ForgetCopies() { th.nrange = 0 }

// Scratch gives n bytes, at most 16, that a host call of the answer can write
// to, and the address that they have in the stub. The guest can change them.
func (th *Thread) Scratch(n int) (p []byte, addr uint64) {
	p = th.Window(n)
	if p == nil || n > 16 {
		return nil, 0
	}
	addr = slotOf(th.index) + uint64(slotOut+th.outLen)
	th.outLen += 16
	return p, addr
}
