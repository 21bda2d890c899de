package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Method answers a call: a message's bytes for a message's bytes. An *Error goes to the
// client as it is, any other error as Internal.
type Method func(ctx context.Context, request []byte) ([]byte, error)

// Methods are what a server serves, by path: "/control.v1.GoferService/Boot".
type Methods map[string]Method

// Unary makes a Method of a function that takes and gives messages.
func Unary[Q, A any, PQ message[Q], PA message[A]](f func(context.Context, PQ) (PA, error)) Method {
	return func(ctx context.Context, request []byte) ([]byte, error) {
		q := PQ(new(Q))
		if err := proto.Unmarshal(request, q); err != nil {
			return nil, Errorf(InvalidArgument, "read the request: %v", err)
		}
		a, err := f(ctx, q)
		if err != nil {
			return nil, err
		}
		return proto.Marshal(a)
	}
}

type message[T any] interface {
	*T
	proto.Message
}

// Code is a gRPC status code, of those that are used here.
type Code uint32

const (
	OK                 Code = 0
	Canceled           Code = 1
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Unimplemented      Code = 12
	Internal           Code = 13
)

// Error is a call's failure, as the client gets it.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{c, fmt.Sprintf(format, args...)}
}

// CodeOf is the code that err goes to the client with.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	return Internal
}
