package gofs

// Known is how many nodes are in the table.
func (fs *FS) Known() int {
	fs.nodes.Lock()
	defer fs.nodes.Unlock()
	return len(fs.nodes.known)
}
