package inet

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/server"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
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
		case <-time.After(30 * time.Second):
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
	case <-time.After(30 * time.Second):
		t.Error("it may fill the memory")
	}
	if len(n.notices.waiting)*len(p) > maxWaiting {
		t.Errorf("%d letters wait", len(n.notices.waiting))
	}
}

// TestReportBehindItsError reads an error queue when its error is in the head and the
// report of it still in the bell, where nobody has looked.
func TestReportBehindItsError(t *testing.T) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(theirs, nil, slog.New(slog.DiscardHandler)) }()
	n, err := New(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		n.Close()
		<-served
	}()
	n.Direct(false)
	ctx := vfs.KernelContext()
	d := newDgram(n, false, linux.SOCK_DGRAM, linux.IPPROTO_UDP)
	defer d.Release()
	if err := d.SetSockOpt(ctx, linux.IPPROTO_IP, linux.IP_RECVERR, socket.Int(1)); err != nil {
		t.Fatal(err)
	}
	if err := n.ready(); err != nil {
		t.Fatal(err)
	}
	n.bell.Watch() // and do not look
	defer n.bell.Unwatch(hearer{n}, false)
	nobody := linux.AppendSockaddrInet4(nil, netip.MustParseAddrPort("127.0.0.1:9"))
	for i := range 100 {
		if _, err := d.SendMsg(ctx, &socket.Msg{Data: [][]byte{[]byte("probe")}, Addr: nobody}); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); d.Poll()&wait.Err == 0; time.Sleep(10 * time.Microsecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatal("no error comes")
			}
		}
		b := make([]byte, 10)
		k, err := d.RecvMsg(ctx, &socket.Msg{Data: [][]byte{b}, Flags: linux.MSG_ERRQUEUE})
		if err != nil || string(b[:k]) != "probe" {
			t.Fatalf("report %d: %q, %v", i, b[:k], err)
		}
	}
}
