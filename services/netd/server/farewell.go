package server

import "time"

// FarewellTime is how long connections to the outside go on after the sentry has
// ended: a kernel, too, sends what an ended program had written.
const FarewellTime = time.Second

// farewell closes every socket, as the end of its process does, and returns once
// the peers have what was sent, or the time is over.
func (s *server) farewell() {
	s.stack.Do(func() {
		for _, k := range s.sockets {
			k.close(false)
		}
	})
	for end := time.Now().Add(FarewellTime); s.stack.Parting() && time.Now().Before(end); {
		s.loop.turn(s)
	}
}
