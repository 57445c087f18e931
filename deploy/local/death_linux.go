package local

import "syscall"

// setDeathSignal has the child killed when the harness ends, however that comes.
func setDeathSignal(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
