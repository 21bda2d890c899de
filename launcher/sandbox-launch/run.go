package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"bulkhead/launcher/launch"
	"bulkhead/launcher/network"
	"bulkhead/launcher/oci"
	"bulkhead/launcher/spawn"
	"bulkhead/launcher/term"
)

// run is one `sandbox-launch run`.
type run struct {
	bundle   string
	overlay  bool
	volumes  []string
	env      []string
	workdir  string
	hostname string
	user     string
	tty      string
	network  string
	options  launch.Options
}

func runCommand() *cobra.Command {
	var r run
	c := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]",
		Short: "Run a command in a sandbox and wait for it",
		Long: `Run COMMAND in a new sandbox and wait for it.

Without --bundle it sees the host's own files. What it writes goes to a private
layer that ends with it; /tmp, /proc, /sys and /dev are its own. With --bundle it
is the container of an OCI bundle, and COMMAND, if given, replaces its arguments.

The exit status is the command's; 128+N if signal N ended it; 127 if it is not
there; 126 if it cannot be executed; 125 if the sandbox could not be made.`,
		Example: `  sandbox-launch run -- ls -l /etc
  sandbox-launch run --volume $PWD:/src --workdir /src -- make
  sandbox-launch run --bundle ./alpine`,
		RunE: func(c *cobra.Command, args []string) error { return r.do(c.Context(), args) },
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&r.bundle, "bundle", "b", "", "run the OCI bundle in `DIR`")
	f.BoolVar(&r.overlay, "overlay", false, "with --bundle: keep what is written to its root out of the bundle")
	f.StringArrayVarP(&r.volumes, "volume", "v", nil, "show a host file or directory to the guest: `HOST:GUEST[:ro]`")
	f.StringArrayVarP(&r.env, "env", "e", nil, "set a variable, or pass the caller's on: `NAME[=VALUE]`")
	f.StringVarP(&r.workdir, "workdir", "w", "", "start in this `DIR` of the guest")
	f.StringVar(&r.hostname, "hostname", "", "the guest's host `NAME`; the host's own if not set")
	f.StringVarP(&r.user, "user", "u", "", "run as this user: `USER[:GROUP]`, names or numbers")
	f.StringVarP(&r.tty, "tty", "t", "auto", "give the guest a terminal: `WHEN` auto, yes or no")
	f.Lookup("tty").NoOptDefVal = "yes"
	f.StringVar(&r.network, "network", "none", "the guest's network: `MODE` none (its own loopback only), sandbox (the interfaces of the network namespace that this command runs in), user (outbound by passt) or tap:NAME")
	r.options.MM = launch.MMNative
	f.Var(&r.options.MM, "mm", "memory calls of guests: `MODE` native, or verified, in which the sentry checks each (slower)")
	r.options.Rewrite = launch.RewriteOn
	f.Var(&r.options.Rewrite, "rewrite", "system-call sites of the guest that are used often: `SWITCH` on (rewritten, so that a call raises no signal) or off")
	f.BoolVar(&r.options.Strace, "strace", false, "log each system call of the guest, to standard error or to --debug-log")
	f.Var(network.Rules{Verb: "allow", List: &r.options.Egress}, "egress-allow", "let this leave, and nothing that no rule allows: [tcp:|udp:|icmp:]ADDRESS|PREFIX|NAME|*.NAME|*[:PORT[-PORT]]; the first rule that fits counts")
	f.Var(network.Rules{Verb: "deny", List: &r.options.Egress}, "egress-deny", "let this not leave; written as for --egress-allow")
	f.Var(network.Rules{Verb: "resolver", List: &r.options.Egress}, "egress-resolver", "the `ADDRESS` of a DNS server that says what the names in the rules stand for, and is asked for no others (default: those of /etc/resolv.conf)")
	f.StringVar(&r.options.EgressLog, "egress-log", "", "add a line to `FILE` for each flow that --egress-allow and --egress-deny refuse")
	f.StringVar(&r.options.Capture, "pcap", "", "write what passes the sandbox's interfaces to `FILE`, as pcapng")
	f.StringVar(&r.options.LogDir, "debug-log", "", "write one log a process into `DIR`")
	return c
}

func (r *run) do(ctx context.Context, args []string) error {
	if err := launch.Check(); err != nil {
		return err
	}
	tty, err := r.wantsTTY()
	if err != nil {
		return err
	}
	mode, err := network.Parse(r.network)
	if err != nil {
		return err
	}
	c, err := r.container(args, tty)
	if err != nil {
		return err
	}
	for _, v := range r.volumes {
		volume, err := oci.ParseVolume(v)
		if err != nil {
			return err
		}
		if err := c.Add(volume); err != nil {
			return err
		}
	}
	warn(c.Warnings)
	dir, err := spawn.PrivateDir()
	if err != nil {
		return fmt.Errorf("make the sandbox's directory: %w", err)
	}
	defer dir.Close()
	outside, err := network.Open(mode, "")
	if err != nil {
		return err
	}
	guard, err := outside.StartGuard()
	if err != nil {
		return err
	}
	defer func() {
		if err := guard.End(); err != nil {
			fmt.Fprintln(os.Stderr, "sandbox-launch:", err)
		}
	}()
	warn(outside.Warnings)
	r.options.Network = outside
	r.options.RenewNetd, r.options.LateNetd = true, true
	s, err := launch.Sandbox(ctx, dir, c, r.options)
	if err != nil {
		return err
	}
	defer s.Kill()
	status, err := launch.Foreground(ctx, s, c.Spec, tty)
	if err != nil {
		return err
	}
	return exitStatus(status)
}

func warn(messages []string) {
	for _, m := range messages {
		fmt.Fprintln(os.Stderr, "sandbox-launch: warning:", m)
	}
}

// wantsTTY tells whether the guest gets a terminal.
func (r *run) wantsTTY() (bool, error) {
	switch r.tty {
	case "auto":
		return term.Is(os.Stdin) && term.Is(os.Stdout) && term.Is(os.Stderr), nil
	case "no":
		return false, nil
	case "yes":
		return true, nil
	}
	return false, fmt.Errorf("--tty %s: want auto, yes or no", r.tty)
}

// container is the one that the flags describe.
func (r *run) container(args []string, tty bool) (*oci.Container, error) {
	id := fmt.Sprintf("run-%d", os.Getpid())
	if r.bundle != "" {
		return r.fromBundle(id, args, tty)
	}
	if len(args) == 0 {
		return nil, errors.New("no command: say which after --, as in: sandbox-launch run -- ls")
	}
	p, err := launch.LocalProcess(args, r.env, r.workdir, r.user)
	if err != nil {
		return nil, err
	}
	p.Terminal = tty
	hostname := r.hostname
	if hostname == "" {
		if hostname, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("read host name: %w", err)
		}
	}
	return oci.Local(id, hostname, p)
}

func (r *run) fromBundle(id string, args []string, tty bool) (*oci.Container, error) {
	bundle, err := filepath.Abs(r.bundle)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", r.bundle, err)
	}
	spec, err := oci.Load(bundle)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", r.bundle, err)
	}
	if err := r.options.MM.Annotated(spec.Annotations); err != nil {
		return nil, fmt.Errorf("bundle %s: %s: %w", r.bundle, oci.ConfigName, err)
	}
	r.options.Memory = oci.Memory(spec.Linux)
	if len(args) != 0 {
		spec.Process.Args = args
	}
	if r.workdir != "" {
		spec.Process.Cwd = r.workdir
	}
	if r.hostname != "" {
		spec.Hostname = r.hostname
	}
	spec.Process.Env = launch.Environ(spec.Process.Env, r.env)
	if r.user != "" {
		u, err := launch.User(r.user)
		if err != nil {
			return nil, err
		}
		spec.Process.User.UID, spec.Process.User.GID, spec.Process.User.AdditionalGids = u.Uid, u.Gid, u.AdditionalGids
	}
	spec.Process.Terminal = tty
	c, err := oci.Convert(id, bundle, spec, r.overlay)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", r.bundle, err)
	}
	return c, nil
}
