// Package network finds the outside of a sandbox and opens the way to it: the
// interfaces of a network namespace, a TAP interface, or a user-mode translator.
//
// In mode sandbox the interfaces stay where they are, and their addresses and
// routes are taken off the host's side, so that only netd answers to them. What
// was taken is a value, Taken, that can be written down; GiveBack undoes it, once
// or twice, from this process or another.
package network

import (
	"fmt"
	"strings"
)

// Mode is a kind of outside, and which one.
type Mode struct {
	Kind Kind
	Name string // of the TAP interface
}

// Kind is one of the below.
type Kind int

// The kinds.
const (
	None    Kind = iota // a loopback only
	Sandbox             // the interfaces of a network namespace
	TAP                 // a TAP interface
	User                // passt(1)
)

// Parse reads what --network takes: none, sandbox, tap:NAME, user.
func Parse(text string) (Mode, error) {
	switch text {
	case "none":
		return Mode{}, nil
	case "sandbox":
		return Mode{Kind: Sandbox}, nil
	case "user":
		return Mode{Kind: User}, nil
	}
	if name, ok := strings.CutPrefix(text, "tap:"); ok && name != "" && len(name) < 16 && !strings.ContainsAny(name, "/ ") {
		return Mode{Kind: TAP, Name: name}, nil
	}
	return Mode{}, fmt.Errorf("--network %s: want none, sandbox, user or tap:NAME", text)
}

func (m Mode) String() string {
	if m.Kind == TAP {
		return "tap:" + m.Name
	}
	return [...]string{None: "none", Sandbox: "sandbox", User: "user"}[m.Kind]
}
