package rpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// servers are ours and grpc-go's, of the same methods.
var servers = map[string]func(net.Listener){
	"ours": func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go methods.ServeConn(c)
		}
	},
	"grpc-go": func(l net.Listener) {
		s := grpc.NewServer(grpc.MaxRecvMsgSize(2 * maxMessage))
		service := grpc.ServiceDesc{ServiceName: "test.Test", HandlerType: (*any)(nil)}
		for _, name := range []string{"Echo", "Fail", "Other", "Wait"} {
			service.Methods = append(service.Methods, grpc.MethodDesc{MethodName: name, Handler: handler(methods["/test.Test/"+name])})
		}
		s.RegisterService(&service, nil)
		s.Serve(l)
	},
}

func handler(m Method) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	return func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		q := new(wrapperspb.BytesValue)
		if err := read(q); err != nil {
			return nil, err
		}
		request, _ := proto.Marshal(q)
		b, err := m(ctx, request)
		var e *Error
		if errors.As(err, &e) {
			return nil, status.Error(codes.Code(e.Code), e.Message)
		}
		a := new(wrapperspb.BytesValue)
		proto.Unmarshal(b, a)
		return a, err
	}
}

// each runs a test with a way to call each server.
func each(t *testing.T, test func(t *testing.T, call func(context.Context, string, []byte) ([]byte, error))) {
	for name, serve := range servers {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("unix", t.TempDir()+"/s")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go serve(l)
			test(t, func(ctx context.Context, method string, request []byte) ([]byte, error) {
				c, err := net.Dial("unix", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				return Call(ctx, c, method, request)
			})
		})
	}
}

func TestCall_echo(t *testing.T) {
	each(t, func(t *testing.T, call func(context.Context, string, []byte) ([]byte, error)) {
		for _, n := range []int{0, 1, maxFrame - 9, maxFrame, 65535, 65536, 1 << 20, maxMessage - 16} {
			request, err := proto.Marshal(&wrapperspb.BytesValue{Value: bytes.Repeat([]byte("abc"), n/3+1)[:n]})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := call(context.Background(), "/test.Test/Echo", request)
			if err != nil || !bytes.Equal(answer, request) {
				t.Errorf("%d bytes: %d came back: %v", len(request), len(answer), err)
			}
		}
	})
}

func TestCall_errors(t *testing.T) {
	each(t, func(t *testing.T, call func(context.Context, string, []byte) ([]byte, error)) {
		var e *Error
		if _, err := call(context.Background(), "/test.Test/Fail", nil); !errors.As(err, &e) || e.Code != NotFound || !strings.Contains(e.Message, "run 100%:") || !strings.Contains(e.Message, "größer") {
			t.Errorf("Fail: %#v", err)
		}
		if _, err := call(context.Background(), "/test.Test/Nothing", nil); !errors.As(err, &e) || e.Code != Unimplemented {
			t.Errorf("Nothing: %#v", err)
		}
		if _, err := call(context.Background(), "/test.Test/Echo", make([]byte, maxMessage+1)); !errors.As(err, &e) || e.Code != ResourceExhausted {
			t.Errorf("too long: %#v", err)
		}
	})
}

// pair is the two ends of a connection.
func pair(t *testing.T) (net.Conn, net.Conn) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mine, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return mine, theirs
}

// A call ends with its context, and with its server.
func TestCall_ends(t *testing.T) {
	var e *Error
	ctx, cancel := context.WithCancel(context.Background())
	mine, theirs := pair(t)
	waits.Add(1)
	go methods.ServeConn(theirs)
	time.AfterFunc(10*time.Millisecond, cancel)
	request, _ := proto.Marshal(durationpb.New(0))
	if _, err := Call(ctx, mine, "/test.Test/Wait", request); !errors.As(err, &e) || e.Code != Canceled {
		t.Errorf("cancelled: %#v", err)
	}
	waits.Wait()
	mine, theirs = pair(t)
	go func() {
		theirs.Read(make([]byte, 1<<16))
		theirs.Close()
	}()
	if _, err := Call(context.Background(), mine, "/test.Test/Echo", nil); !errors.As(err, &e) || e.Code != Unavailable {
		t.Errorf("without a server: %#v", err)
	}
}

// What a server sends is bounded and checked.
func FuzzCall(f *testing.F) {
	ok := appendFrame(nil, frameHeaders, flagEndHeaders|flagEndStream, 1, appendField([]byte{0x88}, "grpc-status", "5"))
	f.Add(ok)
	f.Add(appendFrame(appendFrame(nil, frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 9}), frameData, flagEndStream, 1, []byte{0, 0, 0, 0, 0}))
	f.Add(appendWord(ok[:5], frameWindowUpdate, 1, 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		mine, theirs := net.Pipe()
		go func() {
			go func() {
				for buf := make([]byte, 1<<16); ; {
					if _, err := theirs.Read(buf); err != nil {
						return
					}
				}
			}()
			theirs.Write(b)
			theirs.Close()
		}()
		if answer, err := Call(context.Background(), mine, "/x", []byte("request")); err == nil && len(answer) > maxMessage {
			t.Errorf("%d bytes", len(answer))
		}
	})
}
