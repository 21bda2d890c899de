package launch

import "fmt"

// MM says who makes a guest's memory calls: a flag's value.
type MM string

const (
	// MMNative: the host, on the word of the guest's own process.
	MMNative MM = "native"
	// MMVerified: the host, after the sentry has found each to be what it ordered.
	MMVerified MM = "verified"
)

// MMAnnotation asks for it in a bundle's config.json.
const MMAnnotation = "dev.bulkhead.mm"

// String, Set and Type make it a flag.
func (m *MM) String() string { return string(*m) }

// Set takes a flag's value.
func (m *MM) Set(s string) error {
	return choose(m, s, string(MMNative), string(MMVerified))
}

// Type is what usage calls the value.
func (m *MM) Type() string { return "mode" }

// Annotated adds what a bundle's annotations ask for. The stricter wins: a bundle
// does not undo what the command line says.
func (m *MM) Annotated(annotations map[string]string) error {
	s, there := annotations[MMAnnotation]
	if !there {
		return nil
	}
	var asked MM
	if err := asked.Set(s); err != nil {
		return fmt.Errorf("annotations: %s: %w", MMAnnotation, err)
	}
	if asked == MMVerified {
		*m = MMVerified
	}
	return nil
}
