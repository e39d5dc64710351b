// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bourse-dev/bourse/internal/access"
)

const logsLong = `Shows what a job's program has written, or with --head or --worker what a container of its Ray cluster has. The job's supplier sends
it through the market's gateway, while the lease has its pods. Who sees it: you, the supplier and the market. Each part of a job that is
split writes its own. A job that was mirrored may be named as in your own cluster.`

const logsExample = `  kubectl bourse logs train -n my-team
  kubectl bourse logs train --follow
  kubectl bourse logs train --worker 0 --tail 100 --since 10m
  kubectl bourse logs research/train --part 1`

// logsCommand shows a log.
type logsCommand struct {
	gateway gatewayFlags
	worker  int
	head    bool
	follow  bool
	tail    int64
	since   time.Duration
}

func newLogs(hub *hubFlags) *cobra.Command {
	c := &logsCommand{gateway: gatewayFlags{hub: hub}}
	cmd := &cobra.Command{
		Use:     "logs JOB",
		Short:   "Show what a job's program or a container of its Ray cluster has written",
		Long:    logsLong,
		Example: logsExample,
		Args:    cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error { return c.check() },
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&c.worker, "worker", -1, "number of a worker, from 0: show its container's log")
	flags.BoolVar(&c.head, "head", false, "show the log of the Ray head's container")
	flags.BoolVarP(&c.follow, "follow", "f", false, "go on until it ends")
	flags.Int64Var(&c.tail, "tail", -1, "how many of the last lines are shown (default all)")
	flags.DurationVar(&c.since, "since", 0, "show what is younger than that only, such as 10m; not for a program's output")
	c.gateway.add(flags)
	cmd.MarkFlagsMutuallyExclusive("worker", "head")
	return cmd
}

// check refuses what would show something else than was asked for.
func (c *logsCommand) check() error {
	switch {
	case c.worker < -1:
		return errors.New("--worker must be a number from 0")
	case c.tail < -1:
		return errors.New("--tail must be a number of lines from 0")
	case c.since < 0:
		return errors.New("--since must be a time such as 10m")
	default:
		return nil
	}
}

func (c *logsCommand) run(ctx context.Context, to, stderr io.Writer, name string) error {
	view, err := c.gateway.open(ctx, stderr, name)
	if err != nil {
		return err
	}
	query := access.LogQuery{Follow: c.follow, Since: c.since}
	if c.worker >= 0 {
		query.Worker = &c.worker
	}
	if c.tail >= 0 {
		query.Tail = &c.tail
	}
	what := access.Output
	if c.head || c.worker >= 0 || view.job.Spec.Ray.Entrypoint == "" {
		what = access.Log
	}
	if what == access.Output && c.since > 0 {
		return errors.New("--since is for a container's log, since a program's output has no times: add --head or --worker, or use --tail")
	}
	text, err := view.get(ctx, what, query.Values())
	if err != nil {
		return err
	}
	defer func() { _ = text.Close() }() // it was only read
	if _, err := io.Copy(to, text); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the log broke off, and the job may go on: ask again, with --tail for what is new: %w", err)
	}
	return nil
}
