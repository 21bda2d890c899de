// Command sandbox-launch runs a program in a sandbox, without configuration.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	"bulkhead/launcher/launch"
	"bulkhead/launcher/network"
	"bulkhead/launcher/version"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == network.GuardCommand {
		if err := network.RunGuard(); err != nil {
			fmt.Fprintln(os.Stderr, "sandbox-launch: give the network back:", err)
			os.Exit(launch.StatusFailed)
		}
		return
	}
	hull.Slacken()
	// What our own caller left open is no business of the services.
	if err := jail.CloseOnExecFrom(3); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox-launch:", err)
		os.Exit(launch.StatusFailed)
	}
	root := &cobra.Command{
		Use:           "sandbox-launch",
		Short:         "Run programs in a Bulkhead sandbox",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand())
	err := root.Execute()
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		fmt.Fprintln(os.Stderr, "sandbox-launch:", err)
		os.Exit(launch.StatusOf(err))
	}
}

// exitStatus is the guest's own end: nothing is to be said about it.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }
