package inet

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	netdv1 "bulkhead/proto/netd/v1"
)

func changed(n uint32) *netdv1.Notice {
	return &netdv1.Notice{Event: &netdv1.Notice_Changed{Changed: &netdv1.Changed{What: &netdv1.Changed_Link{Link: &netdv1.Interface{Index: n}}}}}
}

func letterOf(t *testing.T, frames uint32, m proto.Message) []byte {
	t.Helper()
	p, err := proto.MarshalOptions{}.MarshalAppend(binary.LittleEndian.AppendUint32(nil, frames), m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestNoticesInOrder has letters overtake the frames that were sent before them.
func TestNoticesInOrder(t *testing.T) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	conn, err := channel.New(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	order := make(chan uint32, 100)
	tell := func(c *netdv1.Changed) { order <- c.GetLink().GetIndex() }
	n.watcher.Store(&tell)

	n.letter(nil)
	n.letter([]byte{0, 0, 0, 0, 0xff})
	n.letter(letterOf(t, 0, changed(1)))
	n.letter(letterOf(t, 1, changed(3)))
	n.letter(letterOf(t, 0, changed(4))) // by nobody honest; behind the one before nonetheless
	n.letter(letterOf(t, 2, changed(6)))
	for _, i := range []uint32{2, 5, 7} {
		if err := conn.SendMessage(0, changed(i)); err != nil {
			t.Fatal(err)
		}
	}
	var got []uint32
	for range 7 {
		select {
		case i := <-order:
			got = append(got, i)
		case <-time.After(10 * time.Second):
			t.Fatal("only", got)
		}
	}
	if !slices.Equal(got, []uint32{1, 2, 3, 4, 5, 6, 7}) {
		t.Error(got)
	}
}

// TestNoticesThatWaitForNothing has a netd that makes letters wait for good be given up.
func TestNoticesThatWaitForNothing(t *testing.T) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	n, err := New(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	p := append(letterOf(t, 1, changed(1)), make([]byte, channel.MaxLetter/2)...)
	for range 2*maxWaiting/len(p) + 2 {
		n.letter(p)
	}
	select {
	case <-n.client.Dead():
	case <-time.After(10 * time.Second):
		t.Error("it may fill the memory")
	}
	if len(n.notices.waiting)*len(p) > maxWaiting {
		t.Errorf("%d letters wait", len(n.notices.waiting))
	}
}
