package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"bulkhead/launcher/launch"
	sentryv1 "bulkhead/proto/sentry/v1"
)

func runCommand(g *global) *cobra.Command {
	c := creation{global: g}
	var detach bool
	cmd := &cobra.Command{
		Use:   "run [flags] ID",
		Short: "Make a container, start it, and wait for it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.attached = !detach && c.consoleSocket == ""
			m, err := c.make(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer m.dir.Close()
			if !c.attached {
				return c.detached(cmd, m)
			}
			return c.foreground(cmd, m)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "do not wait for it")
	return cmd
}

func (c *creation) detached(cmd *cobra.Command, m *made) error {
	if err := m.load(cmd.Context(), c.consoleSocket); err != nil {
		return err
	}
	if err := m.start(cmd); err != nil {
		m.undo()
		return err
	}
	return m.leave(c.pidFile)
}

func (m *made) start(cmd *cobra.Command) error {
	_, err := m.sandbox.Control().Start(cmd.Context(), &sentryv1.StartRequest{Id: m.id})
	return m.sandbox.Sentry.Failed(err)
}

// foreground waits for the container and forgets it. The lock is held meanwhile
// by nobody: others may kill it, or exec in it.
func (c *creation) foreground(cmd *cobra.Command, m *made) error {
	status, err := launch.Attend(cmd.Context(), m.sandbox, m.id, m.spec.Process.Terminal, func(streams launch.Streams) error {
		if err := m.loadWith(cmd.Context(), streams); err != nil {
			return err
		}
		if err := m.save(); err != nil {
			return err
		}
		if err := writePidFile(c.pidFile, m.keeper.Pid); err != nil {
			return err
		}
		if err := m.dir.Unlock(); err != nil {
			return err
		}
		return m.start(cmd)
	})
	m.undo()
	if err != nil {
		return fmt.Errorf("run %s: %w", m.id, err)
	}
	return exitStatus(status)
}
