//go:build unix && !linux

package postgres

import "syscall"

// setDeathSignal does nothing: these systems have no such signal, and the next start ends what was left
// running.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// mapInto leaves the child root, which the binaries refuse: these systems have no user namespaces.
func mapInto(*syscall.SysProcAttr, int, int) {}
