package sysfs

import (
	"os"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

func read(t *testing.T, fs *FS, path string) string {
	t.Helper()
	ctx := vfs.KernelContext()
	ns := vfs.NewNamespace(fs, vfs.MountReadOnly)
	defer ns.Release()
	f, err := vfs.Open(ctx, ns.Root(), ns.Root(), path, linux.O_RDONLY, 0, 0, 0)
	if err != nil {
		t.Errorf("open %s: %v", path, err)
		return ""
	}
	defer f.DecRef(ctx)
	b := make([]byte, 4096)
	n, err := f.Read(ctx, b)
	if err != nil {
		t.Errorf("read %s: %v", path, err)
	}
	return string(b[:n])
}

func TestText(t *testing.T) {
	fs := New(Config{CPUs: 4})
	for path, want := range map[string]string{
		"/devices/system/cpu/online":                           "0-3\n",
		"/devices/system/cpu/cpu2/topology/core_id":            "2\n",
		"/devices/system/cpu/cpu2/topology/thread_siblings":    "4\n",
		"/devices/system/cpu/cpu2/topology/core_siblings_list": "0-3\n",
		"/devices/system/node/node0/cpulist":                   "0-3\n",
		"/devices/system/node/node0/cpu1/topology/core_id":     "1\n",
		"/class/net/lo/address":                                "00:00:00:00:00:00\n",
		"/class/net/lo/mtu":                                    "65536\n",
	} {
		if got := read(t, fs, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestHostHasTheSame compares what does not depend on the machine.
func TestHostHasTheSame(t *testing.T) {
	fs := New(Config{})
	for _, path := range []string{"/class/net/lo/type", "/class/net/lo/flags", "/class/net/lo/ifindex", "/class/net/lo/operstate",
		"/class/net/lo/broadcast", "/class/net/lo/uevent", "/devices/system/node/node0/distance"} {
		host, err := os.ReadFile("/sys" + path)
		if err != nil {
			t.Logf("skipped: %v", err)
			continue
		}
		if got := read(t, fs, path); strings.Fields(got)[0] != strings.Fields(string(host))[0] {
			t.Errorf("%s: %q, the host has %q", path, got, host)
		}
	}
}

// Interfaces come and go, and another of a name is another directory.
func TestInterfaces(t *testing.T) {
	list := []Interface{loopback, {Name: "v0", Index: 2, Link: 5, MTU: 9000, Type: 1, Flags: 0x1043, Address: "02:00:00:00:00:01", Operstate: "up"}}
	list[1].Statistics[5] = 77
	fs := New(Config{Interfaces: func() []Interface { return list }})
	for path, want := range map[string]string{
		"/class/net/v0/address": "02:00:00:00:00:01\n", "/class/net/v0/mtu": "9000\n", "/class/net/v0/flags": "0x1003\n", "/class/net/v0/iflink": "5\n",
		"/class/net/v0/carrier": "1\n", "/class/net/v0/statistics/tx_bytes": "77\n", "/devices/virtual/net/v0/ifindex": "2\n", "/class/net/lo/carrier": "1\n",
	} {
		if got := read(t, fs, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	ctx := vfs.KernelContext()
	ns := vfs.NewNamespace(fs, vfs.MountReadOnly)
	defer ns.Release()
	open := func(path string) error {
		f, err := vfs.Open(ctx, ns.Root(), ns.Root(), path, linux.O_RDONLY, 0, 0, 0)
		if err == nil {
			f.DecRef(ctx)
		}
		return err
	}
	if err := open("/class/net/v0/tun_flags"); err != linux.ENOENT {
		t.Error("it is no TUN interface:", err)
	}
	list[1].Index = 3
	if got := read(t, fs, "/class/net/v0/ifindex"); got != "3\n" {
		t.Errorf("another of the name: %q", got)
	}
	list = list[:1]
	if err := open("/class/net/v0/mtu"); err != linux.ENOENT {
		t.Error("it has gone:", err)
	}
}

func TestMask(t *testing.T) {
	for _, c := range []struct {
		low, high int
		want      string
	}{{0, 1, "1"}, {0, 8, "ff"}, {33, 34, "2,00000000"}, {0, 33, "1,ffffffff"}} {
		if got := mask(c.low, c.high); got != c.want {
			t.Errorf("%d-%d: %s, want %s", c.low, c.high, got, c.want)
		}
	}
}
