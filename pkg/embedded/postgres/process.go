package postgres

import (
	"os/exec"
	"runtime"
	"syscall"
)

// process is a running child.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended and its output is read
	err  error         // how it ended; to be read once done is closed
}

// launch starts cmd, whose SysProcAttr is set, and waits for its end in the background. Where the
// system can, the child gets the signal onParentDeath when this process ends, however that comes.
func launch(cmd *exec.Cmd, onParentDeath syscall.Signal) (*process, error) {
	setDeathSignal(cmd.SysProcAttr, onParentDeath)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux sends the signal when the thread ends that made the child (PR_SET_PDEATHSIG(2const)),
		// so this goroutine keeps its thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}
