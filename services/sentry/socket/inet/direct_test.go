package inet_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// TestDirect moves bytes with no buffer between: what a reader does not take stays,
// and a writer's fault sends what came before it.
func TestDirect(t *testing.T) {
	f, n := network(t)
	n.Direct(false)
	c, s := pair(t, f)
	defer c.Release()
	defer s.Release()
	reader, writer := vfs.NewAnonFile(s, "", linux.O_RDWR), vfs.NewAnonFile(c, "", linux.O_RDWR)
	from := func(b []byte) func(p []byte) (int, error) {
		return func(p []byte) (int, error) { return copy(p, b), nil }
	}

	got, err := writer.WriteDirect(ctx, 5, from([]byte("hello")))
	if got != 5 || err != nil {
		t.Fatalf("write: %d, %v", got, err)
	}
	var b []byte
	got, err = reader.ReadDirect(ctx, 100, func(p []byte) (int, error) { b = append(b, p[0]); return 1, linux.EFAULT })
	if got != 1 || err != linux.EFAULT || string(b) != "h" {
		t.Fatalf("read: %d, %v, %q", got, err, b)
	}
	if rest := recv(t, s, 0); rest != "ello" {
		t.Fatalf("after a fault: %q", rest)
	}
	got, err = writer.WriteDirect(ctx, 100, func(p []byte) (int, error) { return copy(p, "ab"), linux.EFAULT })
	if got != 2 || err != linux.EFAULT || recv(t, s, 0) != "ab" {
		t.Fatalf("write with a fault: %d, %v", got, err)
	}

	const total = 20 << 20
	want := make(chan [32]byte, 1)
	go func() {
		rnd, sum := rand.New(rand.NewSource(1)), sha256.New()
		for sent := 0; sent < total; {
			k := min(1+rnd.Intn(300<<10), total-sent)
			p := bytes.Repeat([]byte{byte(rnd.Int())}, k)
			done, err := writer.WriteDirect(ctx, k, from(p))
			if err != nil || done == 0 {
				t.Errorf("write: %d, %v", done, err)
				break
			}
			sum.Write(p[:done])
			sent += done
		}
		c.Shutdown(ctx, linux.SHUT_WR)
		want <- [32]byte(sum.Sum(nil))
	}()
	sum := sha256.New()
	for all := 0; ; {
		got, err := reader.ReadDirect(ctx, 200<<10, func(p []byte) (int, error) { return sum.Write(p) })
		if err != nil {
			t.Fatal(err)
		}
		if all += got; got == 0 {
			if all != total {
				t.Fatalf("%d bytes", all)
			}
			break
		}
	}
	if [32]byte(sum.Sum(nil)) != <-want {
		t.Fatal("wrong sum")
	}
	if _, err := vfs.NewAnonFile(open(t, f, linux.AF_INET, linux.SOCK_STREAM), "", linux.O_RDWR).ReadDirect(ctx, 1, nil); err != vfs.ErrIndirect {
		t.Fatalf("not connected: %v", err)
	}
}

// TestDirectWithin: sockets that talk to each other without netd decline.
func TestDirectWithin(t *testing.T) {
	f, n := network(t)
	n.Direct(true)
	c, s := pair(t, f)
	defer c.Release()
	defer s.Release()
	if _, err := s.(vfs.DirectReader).ReadDirect(ctx, 1, nil); err != vfs.ErrIndirect {
		t.Fatal(err)
	}
	if _, err := c.(vfs.DirectWriter).WriteDirect(ctx, 1, nil); err != vfs.ErrIndirect {
		t.Fatal(err)
	}
	send(t, c, "x")
	if got := recv(t, s, 0); got != "x" {
		t.Fatal(got)
	}
}
