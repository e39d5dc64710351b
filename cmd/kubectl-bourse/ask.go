// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/manifest"
)

// asks are what quote, explain and replay have in common: one job, and a market that is asked about it.
type asks struct {
	hub  *hubFlags
	file string
	from []string
	most int
	now  func() time.Time
}

func (a *asks) addFile(to *pflag.FlagSet) {
	to.StringVarP(&a.file, "filename", "f", "", "file with a ComputeJob that need not be in the hub (- reads standard input)")
}

func (a *asks) addFrom(to *pflag.FlagSet) {
	to.StringArrayVar(&a.from, "from", nil,
		"file with the market as `kubectl get markets,members,stakepositions,gpuoffers,computejobs,gpuleases -A -o yaml` wrote it, instead of the hub; may be repeated")
}

func (a *asks) addMost(to *pflag.FlagSet, most int, usage string) {
	to.IntVar(&a.most, "most", most, usage)
}

// question is a job, the market as it is or was, and the book that the market has of it.
type question struct {
	job    *boursev1.ComputeJob
	market listing.Snapshot
	book   *book.Book
	demand book.Demand
}

// read reads the job and the market. A moment that is zero means now.
func (a *asks) read(ctx context.Context, cmd *cobra.Command, name string, at func(*boursev1.ComputeJob) (time.Time, error)) (*question, error) {
	if a.most < 0 {
		return nil, errors.New("--most must be 0 or more")
	}
	market, namespace, err := a.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	job, err := a.job(cmd.InOrStdin(), &market, namespace, name)
	if err != nil {
		return nil, err
	}
	moment, err := at(job)
	if err != nil {
		return nil, err
	}
	q := &question{job: job, market: market}
	var left error
	if q.book, left = market.Book(job.UID, moment); left != nil {
		cmd.PrintErrln("left out, as the market does:", left)
	}
	if q.demand, err = listing.Demand(job, market.Wallet(job.Namespace), market.RefusedBefore(job), moment); err != nil {
		return nil, fmt.Errorf("job %s: %w", job.Name, err)
	}
	return q, nil
}

// snapshot reads the market from the files or from the hub, and says which namespace is meant there.
func (a *asks) snapshot(ctx context.Context) (listing.Snapshot, string, error) {
	if len(a.from) == 0 {
		hub, namespace, err := a.hub.open()
		if err != nil {
			return listing.Snapshot{}, "", err
		}
		market, err := listing.Take(ctx, hub, namespace)
		if apierrors.IsForbidden(err) {
			err = fmt.Errorf("%w; let somebody who may read that write the market to a file, and give it with --from", err)
		}
		return market, namespace, err
	}
	var market listing.Snapshot
	for _, name := range a.from {
		text, err := readFile(nil, name)
		if err != nil {
			return listing.Snapshot{}, "", fmt.Errorf("read market: %w", err)
		}
		if err := market.Parse(text); err != nil {
			return listing.Snapshot{}, "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return market, a.hub.namespace, nil
}

// job returns the job that is asked about: from its own file, or from the market.
func (a *asks) job(stdin io.Reader, market *listing.Snapshot, namespace, name string) (*boursev1.ComputeJob, error) {
	if a.file == "" {
		if name == "" {
			return nil, errors.New("name a job, or give one with --filename")
		}
		return pickJob(market.Jobs, namespace, name)
	}
	text, err := readFile(stdin, a.file)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	var jobs []boursev1.ComputeJob
	err = manifest.Each(text, func(kind string, raw []byte) error {
		if kind != "ComputeJob" {
			return nil
		}
		return manifest.Append(&jobs, raw)
	})
	if err != nil {
		return nil, fmt.Errorf("read job from %s: %w", a.file, err)
	}
	if name == "" && len(jobs) > 1 {
		return nil, fmt.Errorf("%s holds %d jobs: name one of them", a.file, len(jobs))
	}
	job, err := pickJob(jobs, "", name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.file, err)
	}
	listing.SetDefaults(job)
	return job, check(job)
}

func readFile(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" && stdin != nil {
		return io.ReadAll(stdin)
	}
	name = filepath.Clean(name)
	return fs.ReadFile(os.DirFS(filepath.Dir(name)), filepath.Base(name))
}

// pickJob returns the one job of a name, its own or that of the job it stands for, or the only one without a name. Without a namespace it may
// be in any.
func pickJob(jobs []boursev1.ComputeJob, namespace, name string) (*boursev1.ComputeJob, error) {
	inside := slices.DeleteFunc(slices.Clone(jobs), func(job boursev1.ComputeJob) bool { return namespace != "" && job.Namespace != namespace })
	switch {
	case name != "":
		return findJob(inside, namespace, name)
	case len(inside) == 1:
		return &inside[0], nil
	case len(inside) == 0:
		return nil, errors.New("there is no ComputeJob in it")
	default:
		return nil, fmt.Errorf("there are %d jobs: name one of them", len(inside))
	}
}

// check looks at what the API server would refuse and the matcher would take for something else.
func check(job *boursev1.ComputeJob) error {
	for _, field := range []struct {
		name  string
		least bool
	}{
		{"gpus.models: name at least one GPU model", len(job.Spec.GPUs.Models) > 0},
		{"gpus.workers: ask for one worker or more", job.Spec.GPUs.Workers > 0},
		{"gpus.perWorker: ask for one GPU or more", job.Spec.GPUs.PerWorker > 0},
		{"durationSeconds: say for how long", job.Spec.DurationSeconds > 0},
		{"bid.token: say what the job is paid in", job.Spec.Bid.Token != ""},
	} {
		if !field.least {
			return fmt.Errorf("job %s: spec.%s", job.Name, field.name)
		}
	}
	return nil
}

// present is the moment at which a job would be decided on now.
func (a *asks) present(*boursev1.ComputeJob) (time.Time, error) { return listing.RoundUp(a.now()), nil }

func nameFrom(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
