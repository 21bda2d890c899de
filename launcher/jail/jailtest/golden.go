// Package jailtest checks a service's filter against the listing beside it.
package jailtest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bulkhead/launcher/jail"
)

var update = flag.Bool("update", false, "rewrite testdata/filter.golden")

// Golden fails when f differs from testdata/filter.golden, so that a review sees
// every power that a service gains, or when f lets through more than most calls.
// go test -update rewrites the listing.
func Golden(t *testing.T, f jail.Filter, most int) {
	t.Helper()
	if _, err := f.Program(); err != nil {
		t.Fatal(err)
	}
	if n := f.Calls(); n > most {
		t.Errorf("the filter lets through %d calls, at most %d may be", n, most)
	}
	path := filepath.Join("testdata", "filter.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != f.String() {
		t.Errorf("%s differs from the filter; if that is meant, run go test -update and have the change reviewed. The filter is:\n%s", path, f)
	}
}

// PathCalls are the system calls that take a path, and PowerCalls: what a service
// without files must never be let to do.
var PathCalls = slices.Concat(PowerCalls, []string{
	"open", "openat", "openat2", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
	"chdir", "chroot", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "unlink", "unlinkat",
	"symlink", "symlinkat", "readlink", "readlinkat", "chmod", "fchmodat", "chown", "lchown", "fchownat", "truncate",
	"utime", "utimes", "utimensat", "futimesat", "statfs", "mknod", "mknodat", "mount", "umount2", "pivot_root", "swapon",
	"swapoff", "acct", "uselib", "quotactl", "name_to_handle_at", "open_by_handle_at", "inotify_add_watch", "fanotify_mark",
	"setxattr", "lsetxattr", "getxattr", "lgetxattr", "listxattr", "llistxattr", "removexattr", "lremovexattr",
	"open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
})

// PowerCalls make sockets, run programs, look into processes or change the host:
// what no service must ever be let to do.
var PowerCalls = []string{
	"execve", "execveat", "fork", "vfork",
	"socket", "socketpair", "connect", "bind", "listen", "ptrace", "bpf", "perf_event_open", "io_uring_setup", "userfaultfd",
	"memfd_secret", "init_module", "finit_module", "kexec_load", "unshare", "setns", "keyctl", "add_key", "request_key",
}

// Never fails for every call of names that f lets through.
func Never(t *testing.T, f jail.Filter, names ...string) {
	t.Helper()
	for _, name := range names {
		for call := range uint32(512) {
			if jail.CallName(call) == name && f.Lets(call) {
				t.Errorf("the filter lets %s through", name)
			}
		}
	}
}
