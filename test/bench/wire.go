package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// A wire is two network namespaces joined by a veth pair: "far" is where the
// client is, always native; "near" is where the measured program is.
type wire struct{ far, near string }

// The two ends' addresses are of RFC 5737's documentation range.
const (
	farAddress  = "192.0.2.1"
	nearAddress = "192.0.2.2"
	port        = "5201"
)

// wired is the run's wire, made at its first use.
func (b *run) wired() (*wire, error) {
	if b.wire == nil && b.wireErr == nil {
		b.wire, b.wireErr = newWire()
	}
	return b.wire, b.wireErr
}

func newWire() (*wire, error) {
	if err := installed("ip"); err != nil {
		return nil, err
	}
	w := &wire{fmt.Sprintf("bulkhead-bench-far-%d", os.Getpid()), fmt.Sprintf("bulkhead-bench-near-%d", os.Getpid())}
	err := ip("netns", "add", w.far)
	if err == nil {
		err = ip("netns", "add", w.near)
	}
	if err == nil {
		err = ip("-n", w.far, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", w.near)
	}
	if err == nil {
		err = ip("-n", w.far, "address", "add", farAddress+"/24", "dev", "eth0")
	}
	for _, ns := range []string{w.far, w.near} {
		for _, device := range []string{"lo", "eth0"} {
			if err == nil {
				err = ip("-n", ns, "link", "set", device, "up")
			}
		}
	}
	if err != nil {
		w.close()
		return nil, notThere("no network namespaces to measure in: " + err.Error())
	}
	return w, nil
}

func (w *wire) close() {
	ip("netns", "delete", w.far)
	ip("netns", "delete", w.near)
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, tail(string(out)))
	}
	return nil
}

func in(namespace string, argv []string) []string {
	return append([]string{"ip", "netns", "exec", namespace}, argv...)
}

// serve starts a server at the near end of the wire and waits until it is
// reached. The caller must call end.
func (b *run) serve(e environment, argv ...string) (w *wire, end func(), err error) {
	if e.outside == nil {
		return nil, nil, errElsewhere
	}
	if err := installed(argv[0]); err != nil {
		return nil, nil, err
	}
	if w, err = b.wired(); err != nil {
		return nil, nil, err
	}
	// A sandbox takes the address and gives it back; one that was killed may not
	// have.
	if err := ip("-n", w.near, "address", "replace", nearAddress+"/24", "dev", "eth0"); err != nil {
		return nil, nil, err
	}
	if e.name != native {
		if err := probe(w, e); err != nil {
			return nil, nil, err
		}
	}
	said, err := os.CreateTemp(b.dir, "server")
	if err != nil {
		return nil, nil, err
	}
	defer said.Close()
	cmd := command(in(w.near, e.outside(argv)))
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	end = func() { stop(cmd); os.Remove(said.Name()) }
	if _, err := outputWithin(20*time.Second, in(w.far, []string{b.path("micro"), "net", "reach", nearAddress, port})); err != nil {
		end()
		text, _ := os.ReadFile(said.Name())
		return nil, nil, fmt.Errorf("%w; the server: %s", err, tail(string(text)))
	}
	return w, end, nil
}

// probe says whether a sandbox has an outside network.
func probe(w *wire, e environment) error {
	if _, err := outputWithin(20*time.Second, in(w.near, e.outside([]string{"/bin/true"}))); err != nil {
		return notThere("no outside network: " + err.Error())
	}
	return nil
}

// client runs a program at the wire's far end.
func (w *wire) client(argv ...string) ([]byte, error) {
	return outputWithin(time.Minute, in(w.far, argv))
}
