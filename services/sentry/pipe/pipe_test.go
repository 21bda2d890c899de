package pipe

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

func ends(t *testing.T, flags linux.OpenFlags) (r, w *End) {
	t.Helper()
	return NewEnds(vfs.RootCreds(), flags)
}

func write(t *testing.T, w *End, n, want int, wantErr error) {
	t.Helper()
	got, err := w.WriteStream(kernel, make([]byte, n))
	if got != want || err != wantErr {
		t.Fatalf("write of %d: %d, %v; want %d, %v", n, got, err, want, wantErr)
	}
}

func read(t *testing.T, r *End, n, want int, wantErr error) {
	t.Helper()
	got, err := r.ReadStream(kernel, make([]byte, n))
	if got != want || err != wantErr {
		t.Fatalf("read of %d: %d, %v; want %d, %v", n, got, err, want, wantErr)
	}
}

func TestReadWrite(t *testing.T) {
	r, w := ends(t, 0)
	read(t, r, 1, 0, linux.EAGAIN)
	read(t, r, 0, 0, nil)
	write(t, w, 0, 0, nil)
	write(t, w, 5, 5, nil)
	read(t, r, 3, 3, nil)
	read(t, r, 3, 2, nil)
	write(t, w, 100000, 65536, nil)
	write(t, w, 1, 0, linux.EAGAIN)
	read(t, r, 100, 100, nil)
	write(t, w, 1, 0, linux.EAGAIN) // no slot is free yet, as in Linux
	read(t, r, 3996, 3996, nil)
	write(t, w, 1, 1, nil)
	read(t, r, 1<<20, 65536-4096+1, nil)
	w.Release()
	read(t, r, 1, 0, nil)
}

func TestWrite_withoutReader(t *testing.T) {
	r, w := ends(t, 0)
	write(t, w, 3, 3, nil)
	r.Release()
	write(t, w, 0, 0, nil)
	write(t, w, 1, 0, linux.EPIPE)
	w.Release()
}

func TestPackets(t *testing.T) {
	r, w := ends(t, linux.O_DIRECT)
	write(t, w, 5, 5, nil)
	write(t, w, 6, 6, nil)
	write(t, w, 5000, 5000, nil)
	read(t, r, 3, 3, nil) // the rest of the packet is lost
	read(t, r, 100, 6, nil)
	read(t, r, 9000, 4096, nil)
	read(t, r, 9000, 904, nil)
	if n := r.Buffered(); n != 0 {
		t.Errorf("%d bytes left", n)
	}
	if err := w.SetFlags(kernel, 0); err != nil {
		t.Fatal(err)
	}
	write(t, w, 1, 1, nil)
	write(t, w, 1, 1, nil)
	read(t, r, 100, 2, nil)
}

func TestPoll(t *testing.T) {
	r, w := ends(t, 0)
	steps := []struct {
		name   string
		do     func()
		re, we wait.Events
	}{
		{"new", func() {}, 0, wait.Out},
		{"some", func() { write(t, w, 1, 1, nil) }, wait.In, wait.Out},
		{"full", func() { write(t, w, 1<<20, 65536-4096+0, nil) }, wait.In, 0},
		{"drained", func() { read(t, r, 1<<20, 65536-4096+1, nil) }, 0, wait.Out},
		{"no writer", func() { w.Release() }, wait.Hup, wait.Out},
	}
	for _, s := range steps {
		if s.name == "full" {
			write(t, w, 4095, 4095, nil)
			read(t, r, 4095, 4095, nil)
		}
		s.do()
		if re, we := r.Poll(), w.Poll(); re != s.re || we != s.we {
			t.Errorf("%s: %#x %#x, want %#x %#x", s.name, re, we, s.re, s.we)
		}
	}
	r, w = ends(t, 0)
	r.Release()
	if ev := w.Poll(); ev != wait.Out|wait.Err {
		t.Errorf("without a reader: %#x", ev)
	}
}

func TestSize(t *testing.T) {
	user := vfs.WithCreds(kernel, vfs.UserCreds(1000, 1000))
	_, w := ends(t, 0)
	write(t, w, 5*4096, 5*4096, nil)
	for _, c := range []struct {
		ctx  vfs.Context
		n    uint64
		want int
		err  error
	}{
		{user, 1 << 20, 1 << 20, nil},
		{user, 1<<20 + 1, 0, linux.EPERM},
		{kernel, 1<<20 + 1, 2 << 20, nil},
		{user, 5 * 4096, 8 * 4096, nil},
		{user, 4 * 4096, 0, linux.EBUSY},
		{user, 0, 0, linux.EBUSY},
		{user, 1<<31 + 1, 0, linux.EINVAL},
	} {
		if got, err := w.SetSize(c.ctx, c.n); got != c.want || !errors.Is(err, c.err) && err != c.err {
			t.Errorf("SetSize(%d) = %d, %v; want %d, %v", c.n, got, err, c.want, c.err)
		}
	}
	if w.Size() != 8*4096 {
		t.Errorf("size %d", w.Size())
	}
	write(t, w, 4*4096, 3*4096, nil)
}

func TestSize_ofAllPipes(t *testing.T) {
	user := vfs.WithCreds(kernel, vfs.UserCreds(1000, 1000))
	before := allPages.Load()
	var all []*End
	for allPages.Load() <= softPages-256 {
		r, w := NewEnds(user.Creds(), 0)
		all = append(all, r, w)
		if _, err := w.SetSize(user, MaxSize); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all[0].SetSize(user, 4096); err != nil {
		t.Error(err)
	}
	for {
		r, w := NewEnds(user.Creds(), 0)
		all = append(all, r, w)
		if w.Size() != DefaultSize {
			if w.Size() != minSlots*PageSize {
				t.Errorf("a further pipe has %d bytes", w.Size())
			}
			break
		}
	}
	if _, err := all[0].SetSize(user, MaxSize); err != linux.EPERM {
		t.Errorf("growing: %v", err)
	}
	if _, err := all[0].SetSize(kernel, MaxSize); err != nil {
		t.Errorf("growing, with CAP_SYS_RESOURCE: %v", err)
	}
	for _, e := range all {
		e.Release()
	}
	if n := allPages.Load(); n != before {
		t.Errorf("%d pages counted at the end, %d before", n, before)
	}
}

// TestRing holds the ring against a plain byte queue.
func TestRing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := ring{limit: 16}
	var oracle []byte
	next := byte(0)
	for range 20000 {
		switch rnd.IntN(5) {
		case 0, 1:
			p := make([]byte, rnd.IntN(9000))
			for i := range p {
				p[i] = next + byte(i)
			}
			n := r.write(p, false)
			if n < len(p) && len(p) <= PageSize && n != 0 {
				t.Fatalf("write of %d torn at %d", len(p), n)
			}
			if n < len(p) && !r.full() {
				t.Fatalf("short write of %d of %d into a ring with room", n, len(p))
			}
			next += byte(n)
			oracle = append(oracle, p[:n]...)
		case 2, 3:
			p, q := make([]byte, rnd.IntN(9000)), make([]byte, 9000)
			q = q[:r.peek(q[:len(p)])]
			n := r.read(p)
			if !bytes.Equal(p[:n], oracle[:n]) || !bytes.Equal(q, p[:n]) || n < min(len(p), len(oracle)) {
				t.Fatal("read differs")
			}
			oracle = oracle[n:]
		case 4:
			if limit := uint32(1) << rnd.IntN(7); r.setLimit(limit) != (r.used() <= limit) {
				t.Fatal("limit")
			}
		}
		if r.bytes != len(oracle) {
			t.Fatalf("%d bytes, want %d", r.bytes, len(oracle))
		}
	}
}

// stream is an End as a blocking io.ReadWriter, as vfs.File makes it.
type stream struct{ *End }

func (s stream) Read(p []byte) (n int, err error) {
	err = wait.Until(kernel, s.Queue(), wait.Readable, time.Time{}, func() (bool, error) {
		n, err = s.ReadStream(kernel, p)
		return err != linux.EAGAIN, err
	})
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (s stream) Write(p []byte) (n int, err error) {
	err = wait.Until(kernel, s.Queue(), wait.Writable, time.Time{}, func() (bool, error) {
		m, err := s.WriteStream(kernel, p[n:])
		n += m
		return n == len(p) || err != nil && err != linux.EAGAIN, err
	})
	return n, err
}

func TestConcurrent(t *testing.T) {
	const writers, each = 4, 2000
	r, w := ends(t, 0)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range each {
				// Records of one byte value: none may be torn by another.
				rec := bytes.Repeat([]byte{byte(i)}, 64)
				if _, err := (stream{w}).Write(rec); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); w.Release() }()
	br := stream{r}
	counts := [writers]int{}
	for rec := make([]byte, 64); ; {
		if _, err := io.ReadFull(br, rec); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, b := range rec {
			if b != rec[0] {
				t.Fatal("torn")
			}
		}
		counts[rec[0]]++
	}
	for i, n := range counts {
		if n != each {
			t.Errorf("writer %d: %d records", i, n)
		}
	}
}

func TestAllocs(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool forgets on purpose under the race detector")
	}
	r, w := ends(t, 0)
	for _, size := range []int{1, 4096, 65536} {
		p := make([]byte, size)
		if n := testing.AllocsPerRun(200, func() {
			w.WriteStream(kernel, p)
			r.ReadStream(kernel, p)
		}); n != 0 {
			t.Errorf("%v allocations for %d bytes", n, size)
		}
	}
}

func BenchmarkWriteRead(b *testing.B) {
	for _, size := range []int{1, 4096, 65536} {
		b.Run(map[int]string{1: "1", 4096: "4096", 65536: "65536"}[size], func(b *testing.B) {
			r, w := NewEnds(nil, 0)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				w.WriteStream(kernel, p)
				r.ReadStream(kernel, p)
			}
		})
	}
}
