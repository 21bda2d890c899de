package vfs

// UserNamespace is placeholder
type UserNamespace struct{}
