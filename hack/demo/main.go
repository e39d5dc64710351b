// SPDX-License-Identifier: Apache-2.0

// Command demo starts the lab, shows the whole life of two interactive jobs or of a real Ray program, checks the money by
// reading the chain, and removes everything again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/bourse-dev/bourse/test/e2e/story"
)

const samples = "config/samples"

func main() {
	log.SetLogger(logr.Discard()) // the client has nothing to say that the demo does not
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	keep := flag.Bool("keep", false, "leave the lab up at the end")
	ray := flag.Bool("ray", false, "run a real Ray program on real kubelets; needs root on Linux")
	dir := flag.String("dir", ".lab", "the lab's folder")
	flag.Parse()
	folder, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(folder, "lab.json")); err == nil {
		return fmt.Errorf("a lab is already in %s: end it with `make lab-down`, or choose another --dir", folder)
	}
	args := []string{"up", "--dir", folder}
	if *ray {
		args = append(args, "--real-nodes", "2", "--no-fake-nodes")
	}
	defer func() {
		if *keep {
			fmt.Printf("\nThe lab is left as it is. Next:\n  export KUBECONFIG=$(go run -C hack/lab ./cmd/lab kubeconfig --dir %[1]s)\n  go run -C hack/lab ./cmd/lab status --dir %[1]s\n  go run -C hack/lab ./cmd/lab down --dir %[1]s\n", folder)
			return
		}
		// The lab must go even when the demo was interrupted.
		err = errors.Join(err, lab(context.WithoutCancel(ctx), "down", "--dir", folder))
	}()
	if err := lab(ctx, args...); err != nil {
		return err
	}
	opened, err := story.Open(folder)
	if err != nil {
		return err
	}
	teller := story.NewTeller(os.Stdout, time.Now)
	tell := teller.Interactive
	if *ray {
		tell = teller.Batch
	}
	if err := tell(ctx, opened, samples); err != nil {
		return err
	}
	teller.Say("it all adds up")
	return nil
}

// lab runs the lab's own command.
func lab(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "-C", "hack/lab", "./cmd/lab"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab %s: %w", args[0], err)
	}
	return nil
}
