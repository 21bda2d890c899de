package main

import (
	"bulkhead/services/sentry/container"
	"bulkhead/services/sentry/control"
)

func newKernel() control.Kernel { return container.New() }
