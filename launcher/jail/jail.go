// Package jail takes power away from the process that calls it: a seccomp
// filter, capabilities, identity, root directory, limits. It gives nothing.
//
// A service seals itself with it during its Boot call, after it has what it
// needs and before it reads anything that a guest can influence. Each step works
// on all threads of a Go program without cgo; after a step that failed the
// process must end, because some threads may have taken it and others not.
//
// A program that links cgo cannot be sealed: build with CGO_ENABLED=0.
package jail
