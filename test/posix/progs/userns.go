package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	program("userns.credentials", usernsCredentials)
	program("procfs.undumpable", procfsUndumpable)
	child("credentials", childCredentials)
}

// said is what comes with a byte of a socket: the sender's user and group.
func said(fd int) string {
	b, oob := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(fd, b, oob, 0)
	if err != nil {
		return errName(err)
	}
	all, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(all) != 1 {
		return fmt.Sprint(len(all), " messages, ", err)
	}
	u, err := unix.ParseUnixCredentials(&all[0])
	if err != nil {
		return errName(err)
	}
	return fmt.Sprintf("user %d group %d", u.Uid, u.Gid)
}

// Who sends and who is the peer is told in the numbers of who asks.
func usernsCredentials(t *T) {
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	t.Must("socketpair", err)
	for _, fd := range s {
		t.Must("passcred", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
	}
	_, err = unix.Write(s[0], []byte("x"))
	t.Err("send", err)
	cmd := exec.Command("/proc/self/exe", "+credentials")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(s[1]), "socket")}
	ids := []syscall.SysProcIDMap{{ContainerID: 7, HostID: 0, Size: 1}, {ContainerID: 100, HostID: 2000, Size: 10}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{Uid: 7, Gid: 7, NoSetGroups: true},
	}
	t.Err("child", cmd.Run())
	t.Say("its own: %s", said(s[0]))
	t.Say("claimed: %s", said(s[0]))
}

func childCredentials([]string) int {
	const fd = 3
	fmt.Println("ids", os.Getuid(), os.Getgid())
	fmt.Println("received:", said(fd))
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err == nil {
		fmt.Println("peer", u.Uid, u.Gid)
	}
	unix.Write(fd, []byte("y"))
	for _, id := range []uint32{7, 105, 0, 2005} {
		rights := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: id, Gid: id})
		if err := unix.Sendmsg(fd, []byte("z"), rights, nil, 0); id != 7 {
			fmt.Println("claim", id, errName(err))
		}
	}
	return 0
}

// Files of a process that may not be looked into belong to root, whose ever it is.
func procfsUndumpable(t *T) {
	names := []string{"", "task", "status", "maps", "environ", "fd", "fdinfo", "oom_score_adj", "comm", "exe", "ns", "attr"}
	inThread(func() {
		t.Must("setresgid", raw(unix.SYS_SETRESGID, 2000, 2000, 2000))
		t.Must("setresuid", raw(unix.SYS_SETRESUID, 1000, 1000, 1000))
		for _, on := range []uintptr{1, 0} {
			t.Must("dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, on, 0, 0, 0))
			for _, name := range names {
				var st unix.Stat_t
				err := unix.Lstat(fmt.Sprintf("/proc/self/task/%d/%s", unix.Gettid(), name), &st)
				t.Say("dumpable %d, %q: user %d group %d, %v", on, name, st.Uid, st.Gid, err)
			}
		}
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	})
}
