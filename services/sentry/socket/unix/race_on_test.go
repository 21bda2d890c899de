//go:build race

package unix

const raceDetector = true
