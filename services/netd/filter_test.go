package main

import (
	"testing"

	"bulkhead/launcher/jail/jailtest"
)

func TestFilter(t *testing.T) {
	jailtest.Golden(t, filter, 48)
	jailtest.Never(t, filter, jailtest.PathCalls...)
}
