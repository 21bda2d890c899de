package main

import (
	"context"
	"errors"
	"os"

	sentryv1 "bulkhead/proto/sentry/v1"
	"bulkhead/services/sentry/control"
)

func newKernel() control.Kernel { return noKernel{} }

type noKernel struct{}

var errNone = errors.New("this build has no kernel")

func (noKernel) Boot(*sentryv1.BootRequest, control.Descriptors) error { return nil }
func (noKernel) Create(*sentryv1.ContainerSpec, []*os.File, *os.File) error {
	return nil
}
func (noKernel) Start(string) error { return nil }
func (noKernel) Exec(string, *sentryv1.ProcessSpec, []*os.File, *os.File) (int32, error) {
	return 0, errNone
}
func (noKernel) Signal(string, int32, int32, bool, bool) error { return nil }
func (noKernel) Wait(context.Context, string, int32) (*sentryv1.ExitStatus, error) {
	return &sentryv1.ExitStatus{}, nil
}
func (noKernel) State(string) (*sentryv1.ContainerState, error) { return nil, errNone }
func (noKernel) Delete(string) error                            { return nil }
func (noKernel) Resize(string, int32, uint32, uint32) error     { return nil }
