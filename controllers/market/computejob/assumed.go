// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
)

// assumption is a choice that the caches may not show yet.
type assumption struct {
	job      types.UID
	versions []string // the job's resource versions that the choice was made on: without the finalizer, and with it
	chosen   chosen
	gang     book.Gang
	until    time.Time
}

// assumptions are the choices of this process that the caches may not show yet. They are an aid against stale reads only: after a
// restart the caches are read anew. It belongs to the one worker of the controller.
type assumptions struct {
	byJob map[types.UID]assumption
}

func (a *assumptions) assume(job *boursev1.ComputeJob, versions []string, c chosen, until time.Time) {
	if a.byJob == nil {
		a.byJob = map[types.UID]assumption{}
	}
	a.byJob[job.UID] = assumption{
		job: job.UID, versions: versions, chosen: c, until: until,
		gang: book.Gang{Workers: int(job.Spec.GPUs.Workers), PerWorker: int(job.Spec.GPUs.PerWorker)},
	}
}

// decided returns the choice that was made on this very version of the job: the version is stale, or the write was refused.
// A newer version without a lease proves that the choice was never written.
func (a *assumptions) decided(job *boursev1.ComputeJob) (chosen, bool) {
	assumed, ok := a.byJob[job.UID]
	if !ok {
		return chosen{}, false
	}
	if !slices.Contains(assumed.versions, job.ResourceVersion) {
		delete(a.byJob, job.UID)
		return chosen{}, false
	}
	return assumed.chosen, true
}

// open returns the assumptions that still stand, in a fixed order.
func (a *assumptions) open(now time.Time) []assumption {
	var standing []assumption
	for uid, assumed := range a.byJob {
		if now.After(assumed.until) {
			delete(a.byJob, uid)
			continue
		}
		standing = append(standing, assumed)
	}
	slices.SortFunc(standing, func(x, y assumption) int { return cmp.Compare(x.job, y.job) })
	return standing
}

// confirm forgets an assumption that the caches show.
func (a *assumptions) confirm(assumed assumption) { delete(a.byJob, assumed.job) }

// drop forgets what was assumed for a job that will not get its choice.
func (a *assumptions) drop(job *boursev1.ComputeJob) { delete(a.byJob, job.UID) }
