package launch

import (
	"fmt"
	"slices"
	"strings"
)

// choose sets v to s, a flag's value, if it is one of those allowed.
func choose[T ~string](v *T, s string, allowed ...string) error {
	if !slices.Contains(allowed, s) {
		return fmt.Errorf("%s: want %s", s, strings.Join(allowed, " or "))
	}
	*v = T(s)
	return nil
}
