//go:build race

package syscalls

const raceDetector = true
