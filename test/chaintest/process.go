// SPDX-License-Identifier: Apache-2.0

// Package chaintest starts and drives the local Solana chain of hack/lab/chain:
// a real runtime behind the JSON-RPC and websocket interface of a node. It
// knows processes and the chain's own controls (time, forks, faults), and
// nothing of Solana's transactions.
package chaintest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopPatience is how long a chain may take to write its state down.
const stopPatience = 10 * time.Second

// Config says how a chain is started. Its zero value is a chain in memory on a
// free port, with 50 ms slots, finalized after 32 blocks.
type Config struct {
	// Dir keeps the state over restarts; in memory only when empty.
	Dir string
	// Port is the loopback port; a free one when zero.
	Port int
	// Manual makes slots by Sim.Tick only.
	Manual bool
	// SlotMS is the length of a slot in milliseconds; 50 when zero.
	SlotMS int
	// ConfirmLag and FinalLag are the blocks after which a block is confirmed
	// and finalized; 2 and 32 when nil.
	ConfirmLag, FinalLag *int
	// Seed makes the genesis hash; random when empty.
	Seed string
	// Progress is told about installations and gets the chain's complaints;
	// standard error when nil.
	Progress io.Writer
}

func (c Config) progress() io.Writer {
	if c.Progress == nil {
		return os.Stderr
	}
	return c.Progress
}

func (c Config) args() []string {
	args := []string{"--port", strconv.Itoa(c.Port)}
	if c.Dir != "" {
		args = append(args, "--dir", c.Dir)
	}
	if c.Seed != "" {
		args = append(args, "--seed", c.Seed)
	}
	switch {
	case c.Manual:
		args = append(args, "--slot-ms", "0")
	case c.SlotMS > 0:
		args = append(args, "--slot-ms", strconv.Itoa(c.SlotMS))
	}
	if c.ConfirmLag != nil {
		args = append(args, "--confirm-lag", strconv.Itoa(*c.ConfirmLag))
	}
	if c.FinalLag != nil {
		args = append(args, "--final-lag", strconv.Itoa(*c.FinalLag))
	}
	return args
}

// URLs are where a chain listens.
type URLs struct {
	RPC string `json:"rpc"`
	WS  string `json:"ws"`
}

// Command prepares a chain that outlives its starter: the caller sets the
// output, starts it, and reads the URLs from it with Listening. It ends well on
// SIGTERM.
func Command(ctx context.Context, config Config) (*exec.Cmd, error) {
	source, err := Source()
	if err != nil {
		return nil, err
	}
	modules, err := Install(ctx, source, config.progress())
	if err != nil {
		return nil, fmt.Errorf("install chain: %w", err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("find node: %w", err)
	}
	command := exec.Command(node, //nolint:noctx // it outlives the call: whoever starts it stops it
		append([]string{filepath.Join(source, "server.mjs")}, config.args()...)...)
	command.Env = append(os.Environ(), "NODE_PATH="+modules)
	return command, nil
}

// Listening reads a chain's output up to the line that says where it listens.
// The line is missing (io.ErrUnexpectedEOF) when the output ends before it.
func Listening(output io.Reader) (URLs, error) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		text, found := strings.CutPrefix(lines.Text(), "listening ")
		if !found {
			continue
		}
		var urls URLs
		if err := json.Unmarshal([]byte(text), &urls); err != nil {
			return URLs{}, fmt.Errorf("read %q: %w", text, err)
		}
		return urls, nil
	}
	if err := lines.Err(); err != nil {
		return URLs{}, fmt.Errorf("read output: %w", err)
	}
	return URLs{}, fmt.Errorf("read output: no line says where the chain listens: %w", io.ErrUnexpectedEOF)
}

// Process is a running chain that ends with its starter.
type Process struct {
	URLs
	*Sim

	command *exec.Cmd
	stdin   io.Closer
	done    chan struct{}
	err     error
}

// Start runs a chain and returns when it answers. It ends when Stop or Kill is
// called, and when this process ends in any way.
func Start(ctx context.Context, config Config) (*Process, error) {
	command, err := Command(ctx, config)
	if err != nil {
		return nil, err
	}
	command.Args = append(command.Args, "--exit-with-stdin")
	command.Stderr = config.progress()
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open input of chain: %w", err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open output of chain: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start chain: %w", err)
	}
	abort := context.AfterFunc(ctx, func() { _ = command.Process.Kill() })
	urls, err := Listening(stdout)
	if !abort() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		// The cause is known already; what is left is to clean up.
		return nil, errors.Join(fmt.Errorf("start chain: %w", err), ignoreGone(command.Process.Kill()), ignoreExit(command.Wait()))
	}
	p := &Process{
		URLs:    urls,
		Sim:     NewSim(urls.RPC, &http.Client{Timeout: time.Minute}),
		command: command, stdin: stdin, done: make(chan struct{}),
	}
	go func() {
		defer close(p.done)
		p.err = command.Wait()
	}()
	return p, nil
}

// PID is the chain's process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the chain has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the chain after it has written its state down. Stopping twice, or
// after Kill, is no error.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		return ignoreExit(p.err)
	default:
	}
	if err := ignoreGone(p.command.Process.Signal(syscall.SIGTERM)); err != nil {
		return fmt.Errorf("stop chain: %w", err)
	}
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return errors.Join(fmt.Errorf("stop chain: still running after %s", stopPatience), p.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("stop chain: %w", p.err)
	}
	return nil
}

// Kill ends the chain at once, as a crash does, and returns when it is gone.
func (p *Process) Kill() error {
	if err := ignoreGone(p.command.Process.Kill()); err != nil {
		return fmt.Errorf("kill chain: %w", err)
	}
	<-p.done
	return nil
}

// ignoreGone drops the error of signalling a process that has ended.
func ignoreGone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// ignoreExit drops what a killed process leaves as its result.
func ignoreExit(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}
