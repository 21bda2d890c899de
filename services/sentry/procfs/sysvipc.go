package procfs

import (
	"bytes"
	"fmt"

	"bulkhead/services/sentry/pseudo"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/vfs"
)

// sysvipcDir is /proc/sysvipc, which ipcs(1) reads: the columns of the kernel's
// ipc/{shm,sem,msg}.c.
func (fs *FS) sysvipcDir() *pseudo.Dir {
	d := fs.Dir(0o555, nil)
	table := func(name, heading string, rows func(vfs.Context, *bytes.Buffer)) {
		d.Add(name, fs.File(0o444, nil, func(ctx vfs.Context) ([]byte, error) {
			b := bytes.NewBufferString(heading)
			rows(ctx, b)
			return b.Bytes(), nil
		}))
	}
	table("msg", "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n", func(ctx vfs.Context, b *bytes.Buffer) {
		ipc, _ := fs.kernel.IPC(ctx)
		for _, m := range ipc.AllMsg() {
			fmt.Fprintf(b, "%10d %10d  %4o  %10d %10d %5d %5d %s %10d %10d %10d\n", m.Perm.Key, m.ID, m.Perm.Mode,
				m.Bytes, m.Count, fs.kernel.Number(m.Sender), fs.kernel.Number(m.Receiver), ipcOwners(m.Perm), m.Stime, m.Rtime, m.Ctime)
		}
	})
	table("sem", "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n", func(ctx vfs.Context, b *bytes.Buffer) {
		ipc, _ := fs.kernel.IPC(ctx)
		for _, s := range ipc.AllSem() {
			fmt.Fprintf(b, "%10d %10d  %4o %10d %s %10d %10d\n", s.Perm.Key, s.ID, s.Perm.Mode, s.Count, ipcOwners(s.Perm), s.Otime, s.Ctime)
		}
	})
	table("shm", "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n", func(ctx vfs.Context, b *bytes.Buffer) {
		ipc, attached := fs.kernel.IPC(ctx)
		for _, s := range ipc.AllShm(attached) {
			fmt.Fprintf(b, "%10d %10d  %4o %21d %5d %5d  %5d %s %10d %10d %10d %21d %21d\n", s.Perm.Key, s.ID, s.Perm.Mode, s.Size,
				fs.kernel.Number(s.Creator), fs.kernel.Number(s.Last), s.Attached, ipcOwners(s.Perm), s.Atime, s.Dtime, s.Ctime, 0, 0)
		}
	})
	return d
}

func ipcOwners(p sysvipc.Perm) string {
	return fmt.Sprintf("%5d %5d %5d %5d", p.UID, p.GID, p.CUID, p.CGID)
}
