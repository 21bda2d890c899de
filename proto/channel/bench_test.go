package channel

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestMain lets a benchmark have its server in another process.
func TestMain(m *testing.M) {
	if os.Getenv("CHANNEL_TEST_SERVER") != "" {
		conn, err := New(os.NewFile(3, "conn"))
		if err == nil {
			err = Serve(conn, 8, echo)
		}
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func BenchmarkRoundTrip(b *testing.B) {
	near, far, err := Pair()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHANNEL_TEST_SERVER=1")
	cmd.ExtraFiles = []*os.File{far}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	far.Close()
	conn, err := New(near)
	if err != nil {
		b.Fatal(err)
	}
	c := NewClient(conn, nil)
	req := wrapperspb.String("a message of some length, as they are")
	var resp wrapperspb.StringValue
	for b.Loop() {
		if _, err := c.Call(context.Background(), req, nil, &resp); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	cmd.Wait()
}
