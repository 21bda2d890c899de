// Package test holds what is true of the repository as a whole.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "bulkhead/"

// The import law: imports run downwards only. A package may import the
// packages of its own layer's row and what those may import, nothing else of
// ours. "a/..." is every package below a.
//
// A layer is listed after everything that it may use.
var law = []layer{
	// The wire and the ABI: nothing of ours outside proto.
	{"proto/linux", nil},
	{"proto/sentry/v1", nil},
	{"proto/gofer/v1", nil},
	{"proto/netd/v1", nil},
	{"proto/heap", nil},
	{"proto/cores", nil},
	{"proto/stack", nil},
	{"proto/rpc", []string{"proto/stack"}},
	{"proto/channel", []string{"proto/..."}},
	{"proto/control/v1", []string{"proto/..."}},

	// The launcher's helpers and its commands. Services use three of them: jail (how to give
	// up power), hull (how to be started) and version.
	{"launcher/version", nil},
	{"launcher/jail", []string{"proto/linux"}},
	{"launcher/jail/...", []string{"launcher/jail/...", "proto/linux"}},
	{"launcher/hull", []string{"launcher/jail", "launcher/version", "proto/..."}},
	{"launcher/...", []string{"launcher/...", "proto/..."}},

	// The sentry, bottom up.
	{"services/sentry/wait", []string{"proto/linux"}},
	{"services/sentry/vfs", []string{"proto/linux", "services/sentry/wait"}},
	{"services/sentry/vfs/vfstest", []string{"proto/linux", "services/sentry/wait", "services/sentry/vfs"}},
	{"services/sentry/platform/...", []string{"proto/linux", "proto/cores", "launcher/jail", "services/sentry/platform/...", "services/sentry/wait"}},
	{"services/sentry/rewrite", []string{}},
	{"services/sentry/seccomp", []string{"proto/linux"}},
	{"services/sentry/sysvipc", []string{"proto/linux", "services/sentry/budget", "services/sentry/wait", "services/sentry/vfs", "services/sentry/mm"}},
	{"services/sentry/mqueue", []string{"proto/linux", "services/sentry/wait", "services/sentry/vfs"}},
	{"services/sentry/ebpf", []string{"proto/linux"}},
	{"services/sentry/cgroupfs", []string{"proto/linux", "services/sentry/ebpf", "services/sentry/budget", "services/sentry/wait", "services/sentry/vfs"}},
	{"services/sentry/mm/...", []string{"proto/linux", "services/sentry/platform/...", "services/sentry/rewrite", "services/sentry/wait", "services/sentry/vfs", "services/sentry/mm/..."}},
	{"services/sentry/loader/...", []string{"proto/linux", "services/sentry/mm/...", "services/sentry/platform/...", "services/sentry/vfs", "services/sentry/wait"}},
	{"services/sentry/task/...", []string{"proto/linux", "services/sentry/budget", "services/sentry/loader/...", "services/sentry/mm/...", "services/sentry/platform/...",
		"services/sentry/vfs", "services/sentry/wait", "services/sentry/task/...", "services/sentry/futex", "services/sentry/clock", "services/sentry/sysvipc", "services/sentry/mqueue", "services/sentry/seccomp", "services/sentry/cgroupfs", "services/sentry/ebpf"}},
	// What needs to know tasks: the table of calls and what /proc shows.
	{"services/sentry/syscalls/...", []string{"proto/...", "services/sentry/..."}},
	{"services/sentry/procfs/...", []string{"proto/linux", "services/sentry/..."}},
	{"services/sentry/container/...", []string{"proto/...", "launcher/jail", "services/sentry/..."}},
	{"services/sentry/control/...", []string{"proto/...", "launcher/hull", "launcher/jail", "services/sentry/..."}},
	// Everything else of the sentry is a leaf: a file system, a kind of file.
	{"services/sentry/...", []string{"proto/...", "services/sentry/..."}},
	{"services/sentry", []string{"proto/...", "launcher/hull", "launcher/jail", "launcher/version", "services/sentry/..."}},

	// The gofer and netd.
	{"services/gofer/...", []string{"proto/...", "launcher/hull", "launcher/jail", "launcher/version", "services/gofer/..."}},
	{"services/netd/wire", nil},
	{"services/netd/ip", []string{"services/netd/wire"}},
	{"services/netd/route", []string{"services/netd/wire", "services/netd/ip"}},
	{"services/netd/neigh", []string{"services/netd/wire", "services/netd/ip"}},
	{"services/netd/mcast", []string{"services/netd/wire", "services/netd/ip"}},
	{"services/netd/icmp", []string{"services/netd/wire", "services/netd/ip"}},
	{"services/netd/udp", []string{"services/netd/wire", "services/netd/ip"}},
	{"services/netd/mib", nil},
	{"services/netd/bridge", nil},
	{"services/netd/tcp", []string{"services/netd/wire", "services/netd/ip", "services/netd/mib"}},
	{"services/netd/netfilter", []string{"proto/linux", "services/netd/wire", "services/netd/ip"}},
	{"services/netd/nfnetlink", []string{"proto/linux", "services/netd/netfilter"}},
	{"services/netd/...", []string{"proto/...", "launcher/hull", "launcher/jail", "launcher/version", "services/netd/..."}},

	{"test/...", []string{"test/...", "launcher/jail/...", "proto/..."}},
}

// leaves of the sentry must not know what is above them: a file system or a
// kind of file that imported task could not be tested without a kernel.
var aboveLeaves = []string{"services/sentry/task", "services/sentry/syscalls", "services/sentry/procfs", "services/sentry/container", "services/sentry/control"}

// notLeaves may import them.
var notLeaves = append(slices.Clone(aboveLeaves), "services/sentry")

// A pure core has no clock, no network and no host: time comes as an argument.
var pure = []string{"services/netd/wire", "services/netd/ip", "services/netd/icmp", "services/netd/udp", "services/netd/tcp", "services/netd/route", "services/netd/neigh", "services/netd/mcast", "services/netd/mib", "services/netd/bridge",
	"services/netd/netfilter", "services/netd/nfnetlink"}

// impure is what a pure core must not import.
var impure = []string{"os", "net", "syscall", "golang.org/x/sys/unix"}

// forbidden is never imported at all: Bulkhead's kernel is its own.
var forbidden = []string{"gvisor.dev/", "github.com/google/gvisor", "C"}

// onlyLaunchers is what no service may import: a
// parser that the guest's bytes never reach has no place in a service.
var onlyLaunchers = []string{"github.com/spf13/cobra", "github.com/opencontainers/", "github.com/vishvananda/"}

type layer struct {
	name    string
	imports []string
}

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func TestImportLaw(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		l, ok := find(name)
		if !ok {
			t.Errorf("%s is in no layer: give it a row in deps_test.go", name)
			continue
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module); ok {
				if !matchAny(l.imports, ours) {
					t.Errorf("%s imports %s, which its layer %s may not", name, ours, l.name)
				}
				continue
			}
			checkForeign(t, name, imp)
		}
		checkLeaf(t, name, p.Imports)
	}
}

// onlyInLaunchers is what no service may link, not even by way of another package: what
// it initialises is a good part of the time in which a sandbox starts.
var onlyInLaunchers = []string{"google.golang.org/grpc", "github.com/hashicorp/", "net/http", "crypto/tls", "text/template"}

// TestServicesAreLight: services serve gRPC by proto/rpc.
func TestServicesAreLight(t *testing.T) {
	for _, service := range []string{"sentry", "gofer", "netd"} {
		out, err := exec.Command("go", "list", "-deps", module+"services/"+service).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			if slices.ContainsFunc(onlyInLaunchers, func(p string) bool { return strings.HasPrefix(dep, p) }) {
				t.Errorf("%s links %s", service, dep)
			}
		}
	}
}

// checkForeign holds an import from outside against the lists above.
func checkForeign(t *testing.T, name, imp string) {
	t.Helper()
	for _, f := range forbidden {
		if imp == f || strings.HasPrefix(imp, f) && strings.HasSuffix(f, "/") || strings.HasPrefix(imp, f+"/") {
			t.Errorf("%s imports %s", name, imp)
		}
	}
	if slices.Contains(pure, name) && slices.Contains(impure, imp) {
		t.Errorf("%s imports %s: a protocol's core has no clock, no host and no network", name, imp)
	}
	if strings.HasPrefix(name, "services/") {
		for _, l := range onlyLaunchers {
			if strings.HasPrefix(imp, l) {
				t.Errorf("%s imports %s, which only the launcher may", name, imp)
			}
		}
	}
}

// checkLeaf keeps the sentry's leaves below its tasks.
func checkLeaf(t *testing.T, name string, imports []string) {
	t.Helper()
	if !strings.HasPrefix(name, "services/sentry/") || slices.Contains(notLeaves, name) || under(notLeaves[:len(notLeaves)-1], name) {
		return
	}
	for _, imp := range imports {
		if ours := strings.TrimPrefix(imp, module); slices.Contains(aboveLeaves, ours) {
			t.Errorf("%s imports %s, which is above it", name, ours)
		}
	}
}

func under(tops []string, name string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return strings.HasPrefix(name, top+"/") })
}

// TestPureCoresHaveNoClock: what a segment does must depend on the time that it
// is told, or no test could replay it.
func TestPureCoresHaveNoClock(t *testing.T) {
	asks := regexp.MustCompile(`\btime\.(Now|Since|Until|Sleep|After|AfterFunc|Tick|NewTimer|NewTicker)\b`)
	for _, p := range packages(t) {
		if !slices.Contains(pure, strings.TrimPrefix(p.ImportPath, module)) {
			continue
		}
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if m := asks.Find(text); m != nil {
				t.Errorf("%s/%s uses %s", p.ImportPath, name, m)
			}
		}
	}
}

// TestServicesApart: no service imports another, whatever the layers say.
func TestServicesApart(t *testing.T) {
	service := func(path string) string {
		rest, ok := strings.CutPrefix(path, module+"services/")
		if !ok {
			return ""
		}
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if from, to := service(p.ImportPath), service(imp); to != "" && from != to {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
	}
}

// find is the row of a package: its own name's, or of the longest "x/...".
func find(name string) (layer, bool) {
	var best layer
	found := false
	for _, l := range law {
		if l.name == name {
			return l, true
		}
		if match(l.name, name) && len(l.name) > len(best.name) {
			best, found = l, true
		}
	}
	return best, found
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

func match(pattern, name string) bool {
	top, all := strings.CutSuffix(pattern, "/...")
	return name == top || all && strings.HasPrefix(name, top+"/")
}

// packages lists the module's packages with what their sources import, tests
// aside.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,GoFiles", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}
