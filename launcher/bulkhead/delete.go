package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bulkhead/launcher/state"
)

func deleteCommand(g *global) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "delete [flags] ID",
		Short: "Forget a container",
		Long:  "Forget a container that has stopped or was never started. With --force, end it first; one that is not there is then no error.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := g.delete(cmd, args[0], force)
			if force && errors.Is(err, state.ErrNotExist) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "end it first if it runs")
	return cmd
}

func (g *global) delete(cmd *cobra.Command, id string, force bool) error {
	dir, err := state.Open(g.root, id, false)
	if err != nil {
		return err
	}
	st, err := dir.Load()
	if errors.Is(err, state.ErrNotExist) {
		// Its create was killed half-way: the services ended with it.
		return dir.Remove()
	}
	if err != nil && !force {
		dir.Close()
		return err
	}
	if err != nil {
		return dir.Remove()
	}
	b := &box{dir: dir, state: st}
	status, _, err := b.status(cmd.Context())
	if err != nil && !force {
		b.close()
		return err
	}
	if status == "running" && !force {
		b.close()
		return fmt.Errorf("delete %s: the container is running: stop it first, or use --force", id)
	}
	if status != "stopped" {
		b.kill(cmd.Context())
	}
	return b.destroy()
}
