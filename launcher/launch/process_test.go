package launch

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"bulkhead/launcher/spawn"
	sentryv1 "bulkhead/proto/sentry/v1"
)

func TestEnviron(t *testing.T) {
	t.Setenv("FROM_CALLER", "c")
	base := []string{"A=1", "B=2"}
	got := Environ(base, []string{"B=3", "C=4", "FROM_CALLER", "NOT_SET_ANYWHERE", "A="})
	if want := []string{"A=", "B=3", "C=4", "FROM_CALLER=c"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if base[0] != "A=1" {
		t.Error("changed its argument")
	}
}

func TestUser(t *testing.T) {
	for _, tt := range []struct {
		text     string
		uid, gid uint32
	}{{"7", 7, 0}, {"7:8", 7, 8}, {"root", 0, 0}, {"root:9", 0, 9}, {"4294967295:1", 4294967295, 1}} {
		u, err := User(tt.text)
		if err != nil || u.Uid != tt.uid || u.Gid != tt.gid {
			t.Errorf("%s: %v, %v", tt.text, u, err)
		}
	}
	for _, text := range []string{"", "no such user", "0:no such group", "-1", "4294967296"} {
		if u, err := User(text); err == nil {
			t.Errorf("%q gave %v", text, u)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		st   *sentryv1.ExitStatus
		want int
	}{{nil, 0}, {&sentryv1.ExitStatus{Code: 3}, 3}, {&sentryv1.ExitStatus{Signal: 9}, 137}} {
		if got := Status(tt.st); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.st, got, tt.want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), StatusFailed},
		{fmt.Errorf("run: %w", &spawn.CallError{Code: codes.NotFound}), StatusNotFound},
		{&spawn.CallError{Code: codes.PermissionDenied}, StatusNotExecutable},
		{&spawn.CallError{Code: codes.Internal}, StatusFailed},
	} {
		if got := StatusOf(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}
