// Package rpc is a server of gRPC's unary calls over HTTP/2, for a few trusted
// clients that a service's control socket has: what RFC 9113, RFC 7541 and gRPC's
// PROTOCOL-HTTP2.md ask of it, and nothing else. Clients use grpc-go.
//
// It is not grpc-go's server because that one's packages take longer to initialise
// than all the rest of a service takes to start, and because a sealed process is
// better off without their parsers: TLS, HTTP/1, reflection, templates.
//
// A connection has one goroutine that reads, and one for each call that runs. All that
// a client sends is bounded: frames, headers, messages, calls at a time.
package rpc
