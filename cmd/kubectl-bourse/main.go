// SPDX-License-Identifier: Apache-2.0

// Command kubectl-bourse is what people ask the market with. kubectl finds it on the PATH and runs it as `kubectl bourse`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bourse-dev/bourse/internal/process"
)

// release is set by the linker when a release is built.
var release = "" //nolint:gochecknoglobals // the linker can only set a variable

// Exit codes, beside 0.
const (
	exitNo    = 1 // the answer is no: nothing fits, or a decision is another
	exitError = 2 // there is no answer
)

// errNo is a command's answer, not its failure: the command has said why.
var errNo = errors.New("no")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr, time.Now)) //nolint:gocritic // nothing is left to stop
}

// execute runs one command and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer, now func() time.Time) int {
	root := newRoot(now) //nolint:contextcheck // cobra hands it to the commands
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return 0
	case errors.Is(err, errNo):
		return exitNo
	default:
		fmt.Fprintln(stderr, "error:", plain(err.Error(), "\n"))
		return exitError
	}
}

func newRoot(now func() time.Time) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-bourse",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl bourse"},
		Short:         "Ask the market: what a job would get and why, where your jobs went and how they fare, and who takes part",
		Version:       process.Version(release),
		SilenceErrors: true, // execute prints them
		SilenceUsage:  true,
	}
	var hub hubFlags
	hub.add(root.PersistentFlags())
	root.AddCommand(
		newQuote(&hub, now), newExplain(&hub, now), newReplay(&hub, now), newJobs(&hub, now), newMembers(&hub), newLogs(&hub), newDashboard(&hub),
		newJoin(now), newLeave(),
	)
	return root
}
