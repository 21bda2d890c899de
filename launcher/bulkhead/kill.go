package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bulkhead/launcher/spawn"
	sentryv1 "bulkhead/proto/sentry/v1"
)

func killCommand(g *global) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "kill [flags] ID [SIGNAL]",
		Short: "Send a signal to a container's first process",
		Long:  "Send SIGNAL, a name or a number, SIGTERM if not given, to a container's first process.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal := int32(unix.SIGTERM)
			if len(args) == 2 {
				var err error
				if signal, err = parseSignal(args[1]); err != nil {
					return err
				}
			}
			b, err := g.open(args[0], true)
			if err != nil {
				return err
			}
			defer b.close()
			status, _, err := b.status(cmd.Context())
			if err != nil {
				return err
			}
			if status == "stopped" && all {
				return nil
			}
			if status == "stopped" {
				return fmt.Errorf("kill %s: container not running", args[0])
			}
			s, err := b.sandbox()
			if errors.Is(err, spawn.ErrEnded) {
				return fmt.Errorf("kill %s: container not running", args[0])
			}
			if err != nil {
				return err
			}
			_, err = s.Control().Signal(cmd.Context(), &sentryv1.SignalRequest{Id: args[0], Signal: signal, All: all})
			return s.Sentry.Failed(err)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "send it to all of the container's processes")
	return cmd
}

const maxSignal = 64

func parseSignal(s string) (int32, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= maxSignal {
		return int32(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return int32(n), nil
	}
	return 0, fmt.Errorf("signal %q: want a name, such as TERM, or a number from 1 to %d", s, maxSignal)
}
