package gofs

// Known is how many nodes are in the table.
func (fs *FS) Known() int {
	fs.nodes.Lock()
	defer fs.nodes.Unlock()
	return len(fs.nodes.known)
}

// Guess is how much it has paid lately to open what is looked up.
func (fs *FS) Guess() int { return int(fs.guess.Load()) }
