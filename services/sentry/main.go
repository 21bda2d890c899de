// Command bulkhead-sentry is the kernel of a sandbox: it answers what its guests
// ask for. It holds its stubs, the data channels to gofer and netd, and the
// descriptors that were donated to it, and can open, make or name nothing else.
//
// Boot order
//
//  1. take over the descriptors that the launcher gave; serve control
//  2. Boot: mount the /proc of our own PID namespace, for the zygote's sake
//  3. the kernel boots: zygote, clocks, file systems
//  4. leave the file system, drop power, install the filter
//  5. Create: a container, its first program loaded
//  6. Start
//
// Lock order, a < b for "a is taken first". Those within a package, or a file
// system, are in its own comment.
//
//	container.Sandbox.mu < container.Container.mu < task.Kernel.many < task.Kernel.mu
//	task.Kernel.mu < task.Group.sigMu < task.FDTable.mu, task.FSContext.mu, task.handlers.mu
//	vfs.Namespace.mu < vfs's supers.mu
//	vfs's super.renames < dirPart.changes < a file system's locks
//	vfs.File.position < a file system's locks, a file's locks
//	epoll.Epoll.mu < a file's locks < wait.Queue.mu
//	mm.Space.mu < platform's locks
//
// None is held while a guest thread waits (wait.Until), and none across Notify
// that what it wakes could want.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	"bulkhead/services/sentry/control"
)

// posture: an identity that only the stubs share, which is what lets the sentry read
// their memory, and no capability.
func posture() hull.Posture {
	return hull.Posture{UID: jail.Private(), GID: jail.Private(), Filter: filter}
}

func main() {
	fds, err := hull.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sentry:", err)
		os.Exit(1)
	}
	hull.EndWith(fds.Take(hull.FDLifeline))
	hull.EndWith(fds.Take(hull.FDPeer)) // without files there is nothing to go on with
	hold = fds.Take(hull.FDHold)
	state = fds.Take(hull.FDState)
	given := control.Descriptors{
		Gofer: fds.Take(hull.FDGofer), Netd: fds.Take(hull.FDNetd),
		Log: fds.Take(hull.FDLog), Strace: fds.Take(hull.FDStrace),
	}
	server := control.NewServer(newKernel(), given, fds.Take(hull.FDDonate), ownProc, seal)
	hull.Serve(server.Methods())
}

// state is the directory of the control socket, which is made before the seal.
var state *os.File

// hold is never used: gofer and netd end when it closes, with this process.
var hold *os.File

// ownProc shows the process its own PID namespace in /proc.
func ownProc() error {
	if err := jail.PrivateMounts(); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// seal gives up everything that the sentry does not need to run guests.
func seal() error {
	if err := jail.EnterEmptyRoot(); err != nil {
		return err
	}
	state.Close()
	if err := hull.Seal(posture()); err != nil {
		return err
	}
	hull.Slim()
	return nil
}
