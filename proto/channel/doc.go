// Package channel carries messages between two of our processes over a
// SOCK_SEQPACKET socketpair.
//
// One packet is one frame: the id of the request that it belongs to (8 bytes,
// little endian), then one protobuf message, at most MaxBody bytes, with up to
// MaxFDs descriptors beside it. An answer carries its request's id. Id 0 is a
// notice, which nobody answers.
//
// The peer is hostile. A packet that is too short, too long or has had its
// descriptors cut off ends the connection, and whatever descriptors came with
// it are closed. Every call that is under way when a connection ends fails with
// the cause.
//
// A receiver polls for a few tens of microseconds before it sleeps in Go's
// netpoller, as long as that pays: see spinner. Nobody polls on an idle
// connection.
//
// The package knows nothing of what the messages say.
package channel
