package spawn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bulkhead/launcher/jail"
)

// LibexecVar names another directory for the service programs.
const LibexecVar = "BULKHEAD_LIBEXEC"

// CrashVar names a directory that the whole of what a crashed service wrote is
// put in, for those who work on it.
const CrashVar = "BULKHEAD_CRASH_DIR"

// Libexec is the directory of the service programs: that of LibexecVar, or that
// of this program. It fails unless all of them are there.
func Libexec() (string, error) {
	dir := os.Getenv(LibexecVar)
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find own program: %w", err)
		}
		dir = filepath.Dir(self)
	}
	for _, name := range names {
		path := filepath.Join(dir, Program(name))
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("find %s: %s: no such program; install it beside this one (make build leaves all in bin/) or set %s", name, path, LibexecVar)
		case err != nil:
			return "", fmt.Errorf("find %s: %w", name, err)
		case info.IsDir() || info.Mode()&0o111 == 0:
			return "", fmt.Errorf("find %s: %s: not an executable file", name, path)
		}
	}
	return dir, nil
}

// explain adds to err why the service ended, if it wrote why.
func (s *Service) explain(err error) error {
	if why := s.LastWords(); why != "" {
		return errors.New(why)
	}
	return err
}

// LastWords is one line that says why the service crashed, or "".
func (s *Service) LastWords() string {
	f, err := openErrors(s.dir, s.Name, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	if dir := os.Getenv(CrashVar); dir != "" && len(text) > 0 {
		os.WriteFile(filepath.Join(dir, s.Name+".crash"), text, 0o600)
	}
	return lastWords(s.Name, string(text))
}

func lastWords(service, text string) string {
	if call, ok := jail.Forbidden(text); ok {
		return fmt.Sprintf("%s ended by forbidden system call %d (%s)", service, call, jail.CallName(call))
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, start := range []string{"panic: ", "fatal error: ", "runtime: out of memory", service + ": "} {
			if strings.HasPrefix(line, start) {
				return printable(fmt.Sprintf("%s ended: %s", service, line))
			}
		}
	}
	return ""
}

// Crash is one line that says how a service that this process started ended
// before its time, or "".
func (s *Service) Crash() string {
	if s == nil || s.own == nil {
		return ""
	}
	select {
	case <-s.own.ended:
	case <-time.After(patience):
		return ""
	}
	if why := s.LastWords(); why != "" {
		return why
	}
	if st := s.own.cmd.ProcessState; st != nil && !st.Success() {
		return fmt.Sprintf("%s ended: %s", s.Name, st)
	}
	return ""
}

// patience is how long a service that broke its connection may take to die.
const patience = time.Second

// Failed makes of an answer to a control call what a user reads: the message
// that the service sent, or why it did not live to send one.
func (s *Service) Failed(err error) error {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	if st.Code() != codes.Unavailable {
		return &CallError{Code: st.Code(), Message: printable(st.Message())}
	}
	if s.own != nil {
		select {
		case <-s.own.ended:
		case <-time.After(patience):
		}
	}
	return s.explain(fmt.Errorf("%s ended unexpectedly", s.Name))
}

// maxMessage bounds what a service's message takes of a user's screen, in bytes.
const maxMessage = 8 << 10

// printable is a service's message as a terminal may have it: a service that a guest
// has taken over would else tell the user's terminal what to do.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s[:min(len(s), maxMessage)] {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\x%02x", r)
		}
	}
	return b.String()
}

// CallError is a service's own answer that it failed.
type CallError struct {
	Code    codes.Code
	Message string
}

func (e *CallError) Error() string { return e.Message }
