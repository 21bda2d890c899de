package oci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// minimal is a valid config.json; %s stands where a test changes it.
const minimal = `{
  "ociVersion": "1.2.0",
  "root": {"path": "rootfs"},
  "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
}`

func bundle(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigName), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoad_namesTheField(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`"1.2.0"`, `""`, "ociVersion: must be set"},
		{`"1.2.0"`, `"2.0.0"`, "ociVersion: is 2.0.0"},
		{`"root": {"path": "rootfs"},`, ``, "root: must be set"},
		{`"rootfs"`, `""`, "root.path: must not be empty"},
		{`"rootfs"`, `7`, "root.path: is a JSON number, must be string"},
		{`["sh"]`, `[]`, "process.args: must not be empty"},
		{`["sh"]`, `"sh"`, "process.args: is a JSON string"},
		{`["sh"]`, `["sh", "a\u0000b"]`, "process.args[1]: contains a NUL"},
		{`"cwd": "/"`, `"cwd": "x"`, `process.cwd: "x" is not an absolute path`},
		{`"cwd": "/"`, `"cwd": "/", "env": ["A=1", "B"]`, `process.env[1]: "B" is not NAME=VALUE`},
		{`"cwd": "/"`, `"cwd": "/", "rlimits": [{"type": "RLIMIT_X"}]`, `process.rlimits[0].type: "RLIMIT_X"`},
		{`"cwd": "/"`, `"cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]`, "process.rlimits[0].soft: 2 is above hard"},
		{`"cwd": "/"`, `"cwd": "/", "capabilities": {"bounding": ["CAP_X"]}`, `process.capabilities.bounding[0]: "CAP_X"`},
		{`"process"`, `"mounts": [{"destination": "x"}], "process"`, "mounts[0].destination: x is not absolute"},
		{`"process"`, `"mounts": [{"destination": "/x", "type": "bind"}], "process"`, "mounts[0].source: must not be empty"},
		{`"process": {`, `"process": {,`, "line 4, column 15"},
	} {
		_, err := Load(bundle(t, strings.Replace(minimal, tt.old, tt.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), ConfigName+": ") {
			t.Errorf("%s -> %s: error %v, want %q", tt.old, tt.new, err, tt.want)
		}
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "read config.json") {
		t.Errorf("no config: %v", err)
	}
}

// A bundle's author can put in the place of its configuration what has no end.
func TestLoad_endless(t *testing.T) {
	bundle := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(bundle, ConfigName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(bundle); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v, want that it is too long", err)
	}
}

func TestConvert(t *testing.T) {
	dir := bundle(t, strings.Replace(minimal, `"process": {`, `
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {"destination": "/etc/x", "type": "bind", "source": "config.json", "options": ["rbind", "ro", "rprivate"]},
    {"destination": "/data/", "source": "rootfs", "options": ["bind", "ro", "rw"]}
  ],
  "linux": {"maskedPaths": ["/proc/kcore"], "sysctl": {"kernel.x": "1"}},
  "process": {"capabilities": {"effective": ["CAP_CHOWN", "CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 9}],`, 1))
	spec, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Convert("box", dir, spec, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Attaches); n != 3 {
		t.Fatalf("%d attach points, want 3", n)
	}
	if a := c.Attaches[0]; a.Source != filepath.Join(dir, "rootfs") || a.ReadOnly || a.File {
		t.Errorf("root is %v", a)
	}
	if a := c.Attaches[1]; a.Source != filepath.Join(dir, ConfigName) || !a.ReadOnly || !a.File || !a.Recursive {
		t.Errorf("file mount is %v", a)
	}
	if a := c.Attaches[2]; a.ReadOnly || a.Recursive || a.File {
		t.Errorf("directory mount is %v", a)
	}
	var types []string
	for _, m := range c.Spec.Mounts {
		types = append(types, m.Type+" "+m.Destination)
	}
	if got, want := strings.Join(types, ", "), "proc /proc, dev /dev, gofer /etc/x, gofer /data"; got != want {
		t.Errorf("mounts are %s, want %s", got, want)
	}
	if m := c.Spec.Mounts[1]; m.Flags != unix.MS_NOSUID || len(m.Options) != 1 || m.Options[0] != "mode=755" {
		t.Errorf("/dev is %v", m)
	}
	if m := c.Spec.Mounts[3]; m.Attach != 2 || m.Flags&unix.MS_RDONLY != 0 {
		t.Errorf("/data is %v", m)
	}
	p := c.Spec.Process
	if p.Capabilities.Effective != 1<<unix.CAP_CHOWN|1<<unix.CAP_KILL || len(p.Rlimits) != 1 || p.Rlimits[0].Resource != unix.RLIMIT_NOFILE {
		t.Errorf("process is %v", p)
	}
}

func TestConvert_namesTheField(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`"rootfs"`, `"nowhere"`, "config.json: root.path: "},
		{`"process"`, `"mounts": [{"destination": "/x", "type": "bind", "source": "/nowhere"}], "process"`, "config.json: mounts[0].source: "},
		{`"process"`, `"mounts": [{"destination": "/x", "type": "weird"}], "process"`, `config.json: mounts[0].type: "weird"`},
	} {
		dir := bundle(t, strings.Replace(minimal, tt.old, tt.new, 1))
		spec, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Convert("box", dir, spec, false); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s -> %s: error %v, want %q", tt.old, tt.new, err, tt.want)
		}
	}
}

func TestParseVolume(t *testing.T) {
	if v, err := ParseVolume("/a:/b:ro"); err != nil || v != (Volume{"/a", "/b", true}) {
		t.Errorf("%v, %v", v, err)
	}
	for _, s := range []string{"", "/a", "/a:b", ":/b", "/a:/b:x", "/a:/b:ro:x"} {
		if v, err := ParseVolume(s); err == nil {
			t.Errorf("%q gave %v", s, v)
		}
	}
}

func TestMountLine(t *testing.T) {
	at, kind, ok := mountLine(`36 35 98:0 /mnt1 /my\040mnt rw,noatime master:1 shared:7 - ext4 /dev/root rw`)
	if at != "/my mnt" || kind != "ext4" || !ok {
		t.Errorf("%q %q %v", at, kind, ok)
	}
	for _, line := range []string{"", "x", "a - b", "36 35 98:0 / /x - ext4"} {
		if _, _, ok := mountLine(line); ok {
			t.Errorf("read %q", line)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, config []byte) {
		dir := bundle(t, string(config))
		if spec, err := Load(dir); err == nil {
			Convert("box", dir, spec, true)
		}
	})
}
