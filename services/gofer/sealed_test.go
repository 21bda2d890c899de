// Sealing takes a program without cgo: jail.Become.

//go:build !cgo

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/server"
)

const sealedEnv = "GOFER_TEST_SEALED"

// TestMain makes the test binary a sealed gofer for TestSealed.
func TestMain(m *testing.M) {
	if os.Getenv(sealedEnv) == "" {
		os.Exit(m.Run())
	}
	if err := hull.Seal(posture); err != nil {
		fmt.Fprintln(os.Stderr, "seal:", err)
		os.Exit(2)
	}
	if err := server.Serve(os.NewFile(3, "conn"), []server.Attach{{Dir: os.NewFile(4, "root")}}); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestSealed asks for each operation of a gofer behind its filter: one that needs
// a call which is not on the list ends it.
func TestSealed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	near, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sealedEnv+"=1")
	cmd.ExtraFiles = []*os.File{far, dir}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	far.Close()
	conn, err := channel.New(near)
	if err != nil {
		t.Fatal(err)
	}
	client := channel.NewClient(conn, nil)
	ask := func(what string, q *pb.Request, want unix.Errno) *pb.Response {
		resp := new(pb.Response)
		fds, err := client.Call(context.Background(), q, nil, resp)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		if unix.Errno(resp.Errno) != want {
			t.Errorf("%s: %v, want %v", what, unix.Errno(resp.Errno), want)
		}
		return resp
	}
	root := ask("attach", &pb.Request{Op: &pb.Request_Attach{Attach: &pb.AttachRequest{}}}, 0).Handle
	at := func(name string) *pb.Target { return &pb.Target{Handle: root, Name: []byte(name)} }
	mode, id, size := uint32(0o640), uint32(7), int64(100)
	for _, c := range []struct {
		what string
		q    *pb.Request
		want unix.Errno
	}{
		{"create", &pb.Request{Op: &pb.Request_Create{Create: &pb.CreateRequest{Dir: at(""), Name: []byte("f"), Mode: 0o6755, Uid: 5, Access: 3}}}, 0},
		{"mkdir", &pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(""), Name: []byte("d"), Mode: unix.S_IFDIR | 0o755, Uid: 5}}}, 0},
		{"mkfifo", &pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(""), Name: []byte("p"), Mode: unix.S_IFIFO | 0o644}}}, 0},
		{"socket", &pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(""), Name: []byte("s"), Mode: unix.S_IFSOCK | 0o644}}}, 0},
		{"device", &pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(""), Name: []byte("c"), Mode: unix.S_IFCHR | 0o644}}}, unix.EPERM},
		{"symlink", &pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(""), Name: []byte("l"), Mode: unix.S_IFLNK, Symlink: []byte("f"), Uid: 5}}}, 0},
		{"walk", &pb.Request{Op: &pb.Request_Walk{Walk: &pb.WalkRequest{Dir: at(""), Names: [][]byte{[]byte("f")}, Open: true}}}, 0},
		{"stat", &pb.Request{Op: &pb.Request_Stat{Stat: &pb.StatRequest{Target: at("d")}}}, 0},
		{"open", &pb.Request{Op: &pb.Request_Open{Open: &pb.OpenRequest{Target: at("f"), Access: 1}}}, 0},
		{"list", &pb.Request{Op: &pb.Request_List{List: &pb.ListRequest{Dir: at(""), Plus: true}}}, 0},
		{"list on", &pb.Request{Op: &pb.Request_List{List: &pb.ListRequest{Dir: at(""), Position: 1}}}, 0},
		{"readlink", &pb.Request{Op: &pb.Request_Readlink{Readlink: &pb.ReadlinkRequest{Target: at("l")}}}, 0},
		{"link", &pb.Request{Op: &pb.Request_Link{Link: &pb.LinkRequest{Target: at("f"), Dir: at("d"), Name: []byte("g")}}}, 0},
		{"attributes", &pb.Request{Op: &pb.Request_SetAttr{SetAttr: &pb.SetAttrRequest{Target: at("f"), Size: &size, Uid: &id, Gid: &id, Mode: &mode,
			Atime: &pb.Time{Sec: 1}, Mtime: &pb.Time{Now: true}}}}, 0},
		{"attributes of a fifo", &pb.Request{Op: &pb.Request_SetAttr{SetAttr: &pb.SetAttrRequest{Target: at("p"), Mode: &mode}}}, 0},
		{"setxattr", &pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at("f"), Op: pb.XattrRequest_OP_SET, Name: []byte("user.x"), Value: []byte("v")}}}, 0},
		{"getxattr", &pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at("f"), Op: pb.XattrRequest_OP_GET, Name: []byte("user.x")}}}, 0},
		{"listxattr", &pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at("f"), Op: pb.XattrRequest_OP_LIST}}}, 0},
		{"removexattr", &pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at("f"), Op: pb.XattrRequest_OP_REMOVE, Name: []byte("user.x")}}}, 0},
		{"statfs", &pb.Request{Op: &pb.Request_Statfs{Statfs: &pb.StatfsRequest{Target: at("d")}}}, 0},
		{"fsync", &pb.Request{Op: &pb.Request_Sync{Sync: &pb.SyncRequest{Target: at("d")}}}, 0},
		{"rename", &pb.Request{Op: &pb.Request_Rename{Rename: &pb.RenameRequest{Dir: at(""), Name: []byte("p"), NewDir: at("d"), NewName: []byte("g"), Keep: true}}}, 0},
		{"unlink", &pb.Request{Op: &pb.Request_Unlink{Unlink: &pb.UnlinkRequest{Dir: at("d"), Name: []byte("g"), Keep: true}}}, 0},
		{"rmdir", &pb.Request{Op: &pb.Request_Unlink{Unlink: &pb.UnlinkRequest{Dir: at(""), Name: []byte("d"), Directory: true}}}, 0},
	} {
		ask(c.what, c.q, c.want)
	}
	client.Close()
	if err := cmd.Wait(); err != nil {
		t.Error("gofer:", err)
	}
}
