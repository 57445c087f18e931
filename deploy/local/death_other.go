//go:build unix && !linux

package local

import "syscall"

// setDeathSignal does nothing: these systems have no such signal.
func setDeathSignal(*syscall.SysProcAttr) {}
