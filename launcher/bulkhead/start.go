package main

import (
	"fmt"

	"github.com/spf13/cobra"

	sentryv1 "bulkhead/proto/sentry/v1"
)

func startCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "start ID",
		Short: "Start a created container",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := g.open(args[0], false)
			if err != nil {
				return err
			}
			defer b.close()
			status, _, err := b.status(cmd.Context())
			if err != nil {
				return err
			}
			if b.crash != "" {
				return fmt.Errorf("start %s: %s", args[0], b.crash)
			}
			if status != "created" {
				return fmt.Errorf("start %s: the container is %s, not created", args[0], status)
			}
			s, err := b.sandbox()
			if err != nil {
				return err
			}
			_, err = s.Control().Start(cmd.Context(), &sentryv1.StartRequest{Id: args[0]})
			return s.Sentry.Failed(err)
		},
	}
}
