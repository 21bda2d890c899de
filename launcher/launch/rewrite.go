package launch

// Rewrite says whether the guest's system-call sites are rewritten: a flag's
// value.
type Rewrite string

const (
	// RewriteOn: a site that is used often jumps into the stub.
	RewriteOn Rewrite = "on"
	// RewriteOff: each call raises a signal. The guest's code stays as it is.
	RewriteOff Rewrite = "off"
)

// String, Set and Type make it a flag.
func (r *Rewrite) String() string { return string(*r) }

// Set takes a flag's value.
func (r *Rewrite) Set(s string) error {
	return choose(r, s, string(RewriteOn), string(RewriteOff))
}

// Type is what usage calls the value.
func (r *Rewrite) Type() string { return "switch" }
