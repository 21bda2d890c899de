package spawn

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a service says reaches the user's terminal as text, however much it is.
func TestFailed_printable(t *testing.T) {
	s := &Service{Name: "x"}
	for said, want := range map[string]string{
		"exec: /bin/ä:\n\tno such file": "exec: /bin/ä:\n\tno such file",
		"\x1b]0;owned\x07\u009b2J\r":    `\x1b]0;owned\x07\x9b2J\x0d`,
		strings.Repeat("a", 1<<20):      strings.Repeat("a", maxMessage),
	} {
		if got := s.Failed(status.Error(codes.Internal, said)).Error(); got != want {
			t.Errorf("%.40q became %.60q", said, got)
		}
	}
	if got := lastWords("x", "panic: \x1b[2J\n"); got != `x ended: panic: \x1b[2J` {
		t.Errorf("last words %q", got)
	}
}
