// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// restartAfter is the pause between the end of a component and its next start.
const restartAfter = 500 * time.Millisecond

// Supervisor runs components as processes and starts each anew when it ends, so
// that a test may kill one and watch what the others do.
type Supervisor struct {
	// Command makes the command of one component.
	Command func(ctx context.Context, component string, flags []string) *exec.Cmd
	// Ended is told of every end of a component.
	Ended func(component string, err error)

	plane *Plane
	group sync.WaitGroup
}

// Supervise returns a supervisor of p's components.
func (p *Plane) Supervise(
	command func(ctx context.Context, component string, flags []string) *exec.Cmd,
	ended func(component string, err error),
) *Supervisor {
	return &Supervisor{Command: command, Ended: ended, plane: p}
}

// Start starts a component and keeps it running until ctx ends. Its pid is in NAME.pid, its output in NAME.log.
func (s *Supervisor) Start(ctx context.Context, component string) error {
	log, err := os.OpenFile(filepath.Join(s.plane.Dir, component+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	cmd, err := s.spawn(ctx, component, log)
	if err != nil {
		_ = log.Close()
		return err
	}
	s.group.Go(func() {
		defer log.Close() //nolint:errcheck // The component wrote it; there is nothing of ours to lose.
		s.keep(ctx, component, log, cmd)
	})
	return nil
}

// Wait returns when every component has ended, after the end of the context they were started with.
func (s *Supervisor) Wait() { s.group.Wait() }

func (s *Supervisor) keep(ctx context.Context, component string, log *os.File, cmd *exec.Cmd) {
	for {
		if cmd != nil {
			s.Ended(component, cmd.Wait())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartAfter):
		}
		var err error
		if cmd, err = s.spawn(ctx, component, log); err != nil {
			s.Ended(component, err)
		}
	}
}

func (s *Supervisor) spawn(ctx context.Context, component string, log *os.File) (*exec.Cmd, error) {
	cmd := s.Command(ctx, component, s.plane.Flags(component))
	cmd.Stdout, cmd.Stderr = log, log
	// Nothing of a lab outlives it, and an API server takes its time to stop: kill.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", component, err)
	}
	pid := filepath.Join(s.plane.Dir, component+".pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write pid of %s: %w", component, err)
	}
	return cmd, nil
}
