package inet

import (
	"bytes"
	"testing"
)

// A queue gives back what was put in, whatever the pieces, and holds no memory
// once it is empty.
func FuzzByteQueue(f *testing.F) {
	f.Add([]byte{1, 200, 3, 255, 255, 0, 4})
	f.Add(bytes.Repeat([]byte{255}, 64))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var q byteQueue
		var want []byte
		next := byte(0)
		for _, op := range ops {
			n := int(op&^1) * 97
			if op&1 == 0 {
				for n > 0 {
					to := q.room(n)
					for i := range to {
						to[i] = next
						want = append(want, next)
						next++
					}
					q.wrote(len(to))
					n -= len(to)
				}
				continue
			}
			n = min(n, q.size)
			var got []byte
			for len(got) < n {
				got = append(got, q.at(len(got), n-len(got))...)
			}
			if !bytes.Equal(got, want[:n]) {
				t.Fatal("other bytes come out")
			}
			want = want[n:]
			q.read(n)
			if q.size != len(want) || q.size == 0 && n > 0 && q.head != nil {
				t.Fatalf("%d bytes left, want %d; head %v", q.size, len(want), q.head)
			}
		}
	})
}
