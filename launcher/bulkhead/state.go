package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// stateJSON is what runc's state prints.
type stateJSON struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func stateCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "state ID",
		Short: "Print what a container does, as JSON",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := g.open(args[0], true)
			if err != nil {
				return err
			}
			defer b.close()
			status, pid, err := b.status(cmd.Context())
			if err != nil {
				return err
			}
			s := b.state
			out := json.NewEncoder(os.Stdout)
			out.SetIndent("", "  ")
			return out.Encode(stateJSON{
				OCIVersion: s.OCIVersion, ID: s.ID, Pid: pid, Status: status, Bundle: s.Bundle, Rootfs: s.Rootfs,
				Created: s.Created, Annotations: s.Annotations,
			})
		},
	}
}
