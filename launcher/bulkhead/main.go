// Command bulkhead is an OCI runtime: it takes runc's verbs and flags as engines
// call them. Each verb is a process of its own, that finds the sandbox again by
// what an earlier one left in --root.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	"bulkhead/launcher/launch"
	"bulkhead/launcher/network"
	"bulkhead/launcher/state"
	"bulkhead/launcher/version"
)

// global are the flags before the verb.
type global struct {
	root      string
	log       string
	logFormat string
	network   string
	options   launch.Options
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == guardCommand {
		if err := runGuard(os.Args[2], os.Args[3], state.Token(os.Args[4])); err != nil {
			fmt.Fprintf(os.Stderr, "bulkhead: clean up after %s: %v\n", os.Args[3], err)
			os.Exit(1)
		}
		return
	}
	hull.Slacken()
	// What our own caller left open is no business of the services.
	if err := jail.CloseOnExecFrom(3); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
		os.Exit(1)
	}
	var g global
	root := &cobra.Command{
		Use:           "bulkhead",
		Short:         "OCI runtime of sandboxed containers",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	// As runc prints it: engines read the lines.
	root.SetVersionTemplate("bulkhead version {{.Version}}\nspec: " + specs.Version + "\n")
	f := root.PersistentFlags()
	f.StringVar(&g.root, "root", "/run/bulkhead", "keep the state of containers in `DIR`")
	f.StringVar(&g.log, "log", "", "write errors and warnings to `FILE`; to standard error if not set")
	f.StringVar(&g.logFormat, "log-format", "text", "how --log is written: `FORMAT` text or json")
	f.Bool("debug", false, "accepted for runc's sake")
	f.Bool("systemd-cgroup", false, "accepted for runc's sake")
	f.String("rootless", "", "accepted for runc's sake")
	g.options.MM = launch.MMNative
	f.Var(&g.options.MM, "mm", "memory calls of guests: `MODE` native, or verified, as does the annotation "+launch.MMAnnotation)
	g.options.Rewrite = launch.RewriteOn
	f.Var(&g.options.Rewrite, "rewrite", "system-call sites of guests that are used often: `SWITCH` on (rewritten, so that a call raises no signal) or off")
	f.BoolVar(&g.options.Strace, "strace", false, "log each system call of the guest, to standard error or to --debug-log")
	f.StringVar(&g.network, "network", "", "the container's network: `MODE` none (a loopback only), sandbox (the interfaces of the network namespace that the spec names; the default), user (outbound by passt) or tap:NAME")
	f.StringVar(&g.options.EgressLog, "egress-log", "", "add a line to `FILE` for each flow that the annotation "+network.EgressAnnotation+" refuses")
	f.StringVar(&g.options.Capture, "pcap", "", "write what passes the sandbox's interfaces to `FILE`, as pcapng")
	f.StringVar(&g.options.LogDir, "debug-log", "", "write one log a process into `DIR`")
	root.AddCommand(createCommand(&g), startCommand(&g), stateCommand(&g), killCommand(&g), deleteCommand(&g), runCommand(&g), execCommand(&g))

	err := root.Execute()
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		g.report("error", err.Error())
		if g.log != "" {
			fmt.Fprintln(os.Stderr, "bulkhead:", err)
		}
		if n := launch.StatusOf(err); n != launch.StatusFailed {
			os.Exit(n)
		}
		os.Exit(1)
	}
}

// exitStatus is the guest's own end: nothing is to be said about it.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// report writes a line to the log, in the form that engines read.
func (g *global) report(level, message string) {
	out := os.Stderr
	if g.log != "" {
		f, err := os.OpenFile(g.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bulkhead: open log: %v\n", err)
			return
		}
		defer f.Close()
		out = f
	}
	now := time.Now().UTC().Format(time.RFC3339)
	switch {
	case g.logFormat == "json":
		line, _ := json.Marshal(map[string]string{"level": level, "msg": message, "time": now})
		fmt.Fprintln(out, string(line))
	case g.log != "":
		fmt.Fprintf(out, "time=%q level=%s msg=%q\n", now, level, message)
	default:
		fmt.Fprintf(out, "bulkhead: %s\n", message)
	}
}

func (g *global) warn(messages []string) {
	for _, m := range messages {
		g.report("warning", m)
	}
}
