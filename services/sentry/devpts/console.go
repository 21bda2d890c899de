package devpts

import (
	"io"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Console is a pair whose master is the kernel's own: what is behind it (a
// descriptor that the launcher gave, in raw mode) is keyboard and screen, and
// the guest has an ordinary terminal in /dev/pts.
type Console struct {
	*Pair
	master master
}

// NewConsole makes one; its slave belongs to who ctx is.
func (fs *FS) NewConsole(ctx vfs.Context) (*Console, error) {
	p, err := fs.newPair(ctx)
	if err != nil {
		return nil, err
	}
	p.set(&p.locked, false)
	return &Console{Pair: p, master: master{p}}, nil
}

// Read gives what the guest shows. It waits for something, and is at its end
// (io.EOF) once the guest has closed the terminal.
func (c *Console) Read(b []byte) (n int, err error) {
	ctx := vfs.KernelContext()
	err = wait.Until(ctx, &c.masterQueue, wait.Readable, time.Time{}, func() (bool, error) {
		var err error
		n, err = c.master.ReadStream(ctx, b)
		return err != linux.EAGAIN, err
	})
	if err == linux.EIO {
		err = io.EOF
	}
	return n, err
}

// Write presses keys. It waits while the guest takes none.
func (c *Console) Write(b []byte) (int, error) {
	ctx := vfs.KernelContext()
	for sent := 0; ; {
		err := wait.Until(ctx, &c.masterQueue, wait.Writable, time.Time{}, func() (bool, error) {
			n, err := c.master.WriteStream(ctx, b[sent:])
			sent += n
			if err == linux.EAGAIN && c.get(&c.masterClosed) {
				err = linux.EIO
			}
			return err != linux.EAGAIN, err
		})
		if err != nil || sent == len(b) {
			return sent, err
		}
	}
}

// Close hangs the guest's terminal up.
func (c *Console) Close() error {
	c.closeMaster()
	c.masterQueue.Notify(wait.All)
	return nil
}
