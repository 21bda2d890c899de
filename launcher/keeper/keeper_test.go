package keeper

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/launcher/jail"
)

func TestKeeper_endsAsItIsTold(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, tt := range []struct {
		name   string
		told   []byte
		code   int
		signal syscall.Signal
	}{
		{"success", []byte{0, 0}, 0, 0},
		{"code", []byte{3, 0}, 3, 0},
		{"large code", []byte{255, 0}, 255, 0},
		{"killed", []byte{0, 9}, 0, syscall.SIGKILL},
		{"terminated", []byte{0, 15}, 0, syscall.SIGTERM},
		{"crashed", []byte{0, 11}, 0, syscall.SIGSEGV},
		{"a signal that ends nothing", []byte{0, 17}, 128 + 17, 0},
		{"nothing", nil, Lost, 0},
		{"too little", []byte{0}, Lost, 0},
	} {
		p, told, err := Start()
		if err != nil {
			t.Fatal(err)
		}
		told.Write(tt.told)
		told.Close()
		st, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		ws := st.Sys().(syscall.WaitStatus)
		switch {
		case tt.signal != 0 && (!ws.Signaled() || ws.Signal() != tt.signal || ws.CoreDump()):
			t.Errorf("%s: ended with %v, want signal %v and no core", tt.name, st, tt.signal)
		case tt.signal == 0 && (!ws.Exited() || ws.ExitStatus() != tt.code):
			t.Errorf("%s: ended with %v, want code %d", tt.name, st, tt.code)
		}
	}
}

func TestKeeper_holdsNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if err := jail.CloseOnExecFrom(3); err != nil {
		t.Fatal(err)
	}
	p, told, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer told.Close()
	for _, want := range []string{
		"Name:\tkeeper\n", "State:\tS", "\nCapEff:\t0000000000000000",
		fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\nGid:\t%[1]d", jail.Private()),
	} {
		var status []byte
		for end := time.Now().Add(20 * time.Second); !strings.Contains(string(status), want); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("status lacks %q:\n%s", want, status)
			}
			if status, err = os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/status"); err != nil {
				t.Fatal(err)
			}
		}
	}
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(p.Pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/" + strconv.Itoa(p.Pid) + "/fd/" + fd.Name())
		if to != "/dev/null" && !strings.HasPrefix(to, "socket:") {
			t.Errorf("it holds %s", to)
		}
	}
}
