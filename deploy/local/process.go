package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// process is a program that is run. It is in a process group of its own, so that an interrupt at the terminal reaches
// the harness alone, and on Linux it dies with the harness, however that comes.
type process struct {
	program string
	args    []string
	dir     string
	env     []string
	log     string

	mu      sync.Mutex
	pid     int
	ended   chan struct{}
	failure error
}

// launch starts the program, with its output at the end of its log.
func (p *process) launch(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap("run", p.program, err)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	// Not bound to ctx: that is about the launch.
	cmd := exec.Command(p.program, p.args...) //nolint:noctx // it is ended by stop and signal
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	setDeathSignal(cmd.SysProcAttr)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// Linux sends the signal of a parent's death when the thread ends that made the child
		// (PR_SET_PDEATHSIG(2const)), so this goroutine keeps its thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.wait(cmd, ended)
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := <-started; err != nil {
		return fault.New(fault.Unavailable, "run", p.program, err)
	}
	p.pid, p.ended, p.failure = cmd.Process.Pid, ended, nil
	return nil
}

// wait waits for the end of the program.
func (p *process) wait(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure, p.pid = err, 0
	close(ended)
}

func (p *process) stop(ctx context.Context) error {
	p.mu.Lock()
	pid, done := p.pid, p.ended
	if pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may be about to end
	}
	p.mu.Unlock()
	if pid == 0 {
		return nil
	}
	select {
	case <-done:
	case <-ctx.Done():
		_ = p.signal(syscall.SIGKILL)
		<-done
		return fault.Newf(fault.Unavailable, "stop", p.program, "it did not end in time, and was killed")
	}
	// The shell's number for a program that the signal ended: some have no handler of their own.
	var exit *exec.ExitError
	if err := p.err(); errors.As(err, &exit) && exit.ExitCode() != 128+int(syscall.SIGTERM) && !isSignaled(exit, syscall.SIGTERM) {
		return fault.New(fault.Unavailable, "stop", p.program, err)
	}
	return nil
}

func isSignaled(exit *exec.ExitError, signal syscall.Signal) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

func (p *process) signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return nil
	}
	if err := syscall.Kill(-p.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fault.New(fault.Unavailable, "signal", p.program, err)
	}
	return nil
}

func (p *process) done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *process) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

func (p *process) pids() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return nil
	}
	return []int{p.pid}
}
