package container

import "os"

// network connects the sandbox's sockets to netd.
func (s *Sandbox) network(netd *os.File) error {
	return nil
}
