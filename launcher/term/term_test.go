package term

import (
	"os"
	"testing"
	"time"
)

func TestCopy_endsWhenTheGuestsEndCloses(t *testing.T) {
	master, slave, err := Pair()
	if err != nil {
		t.Skip(err) // a host without devpts
	}
	defer master.Close()
	if !Is(slave) {
		t.Error("the slave is no terminal")
	}
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	out, printed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Raw(slave); err != nil {
		t.Fatal(err)
	}
	done := Copy(master, in, printed)
	typed.WriteString("typed")
	buf := make([]byte, 64)
	if n, err := slave.Read(buf); err != nil || string(buf[:n]) != "typed" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	slave.WriteString("last words")
	slave.Close()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("copies on")
	}
	if n, err := out.Read(buf); err != nil || string(buf[:n]) != "last words" {
		t.Errorf("printed %q, %v", buf[:n], err)
	}
}

func TestRaw_isRestored(t *testing.T) {
	master, slave, err := Pair()
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := SetSize(slave, 30, 70); err != nil {
		t.Fatal(err)
	}
	if rows, columns, err := Size(slave, master); err != nil || rows != 30 || columns != 70 {
		t.Errorf("size is %d by %d, %v", rows, columns, err)
	}
	restore, err := Raw(slave)
	if err != nil {
		t.Fatal(err)
	}
	master.Write([]byte("\r"))
	buf := make([]byte, 8)
	if n, _ := slave.Read(buf); string(buf[:n]) != "\r" {
		t.Errorf("raw: read %q", buf[:n])
	}
	restore()
	restore()
	master.Write([]byte("\r")) // which a terminal turns into a line's end
	if n, _ := slave.Read(buf); string(buf[:n]) != "\n" {
		t.Errorf("restored: read %q", buf[:n])
	}
}
