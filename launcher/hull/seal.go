package hull

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
)

// Posture is what a sealed service may still do. Everything else is gone.
type Posture struct {
	UID, GID int
	Caps     jail.Caps
	Filter   jail.Filter
}

// Seal gives up everything that p does not name. The root directory is the
// caller's matter, before this.
func Seal(p Posture) error {
	if err := jail.LimitProcess(); err != nil {
		return err
	}
	if err := jail.Become(p.UID, p.GID, p.Caps); err != nil {
		return err
	}
	// No process of the same user may look into this one: prctl(2).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make memory unreadable to others: %w", err)
	}
	// Said aloud, the number of processors stays what it is: the runtime would look
	// again each second, by a call that no filter has (Go 1.25's updatemaxprocs).
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	return p.Filter.Install()
}

// Logger writes one JSON object a line to f; to nowhere if f is nil.
func Logger(f *os.File, debug bool) *slog.Logger {
	if f == nil {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{Level: level}))
}

func init() {
	// Local time would be read from a file when it is first printed, which a
	// sealed process cannot do.
	time.Local = time.UTC
}
