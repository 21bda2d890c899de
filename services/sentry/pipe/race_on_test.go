//go:build race

package pipe

const raceDetector = true
