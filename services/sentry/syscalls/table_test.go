package syscalls

import (
	"testing"

	"bulkhead/services/sentry/strace"
)

// Two tables name the calls by number: who writes a row to the wrong place is seen here.
func TestTable_namesAreThoseOfStrace(t *testing.T) {
	for nr, r := range table {
		if r.call != nil && strace.Name(uint64(nr)) != r.name {
			t.Errorf("%d is %s here and %s there", nr, r.name, strace.Name(uint64(nr)))
		}
	}
}
