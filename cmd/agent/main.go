// SPDX-License-Identifier: Apache-2.0

// Command agent reads the devices of the node that it runs on and keeps the node's GPUNode.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/bourse-dev/bourse/internal/process"
)

// release is set by the linker when a release is built.
var release = "" //nolint:gochecknoglobals // the linker can only set a variable

// How the agent is kept small. The environment variables of the Go runtime come first.
const (
	processors  = 2
	garbage     = 30 // how much the heap may grow before garbage is collected, in hundredths
	memoryLimit = 18 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bourse-agent:", err)
		os.Exit(1)
	}
}

// start reads the flags and runs the agent until the context ends.
func start(ctx context.Context, args []string) error {
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(os.Stdout, "bourse-agent", process.Version(release))
		return err
	}
	logger, err := process.NewLogger(os.Stderr, o.logLevel, o.logFormat)
	if err != nil {
		return err
	}
	stayLittle()
	logger.Info("Started agent", "version", process.Version(release), "node", o.node)
	if err := run(ctx, o, logger, time.Now); err != nil {
		return err
	}
	logger.Info("Stopped agent")
	return nil
}

// stayLittle trades a little of the processor for memory: an agent has next to nothing to do, on machines with a hundred cores.
func stayLittle() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
