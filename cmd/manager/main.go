// SPDX-License-Identifier: Apache-2.0

// Command manager runs Bourse's controllers: those of the market, of a supplier, of a buyer, or any of them together. Its subcommand
// audit compares the public records with the chain.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/bourse-dev/bourse/internal/process"
)

// release is set by the linker when a release is built.
var release = "" //nolint:gochecknoglobals // the linker can only set a variable

func main() {
	ctx := ctrl.SetupSignalHandler()
	if len(os.Args) > 1 && os.Args[1] == "audit" {
		os.Exit(runAudit(ctx, os.Args[2:], os.Stdout, os.Stderr, time.Now()))
	}
	if err := start(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bourse-manager:", err)
		os.Exit(1)
	}
}

// start reads the flags and runs the manager until the context ends.
func start(ctx context.Context, args []string) error {
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(os.Stdout, "bourse-manager", process.Version(release))
		return err
	}
	logger, err := process.NewLogger(os.Stderr, o.logLevel, o.logFormat)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	logger.Info("Started manager", "version", process.Version(release), "roles", o.roles.String())
	if err := run(ctx, o, time.Now); err != nil {
		return err
	}
	logger.Info("Stopped manager")
	return nil
}
