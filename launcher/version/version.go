// Package version names the build.
package version

// Version is set by the linker: make build.
var Version = "unknown"
