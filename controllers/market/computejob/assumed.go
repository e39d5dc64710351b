// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/listing"
)

// assumption is a choice that the caches may not show yet. What it holds of its offer, the book holds.
type assumption struct {
	versions []string // the job's resource versions that the choice was made on: without the finalizer, and with it
	chosen   chosen
	until    time.Time
}

// assumptions are the choices of this process that the caches may not show yet. They are an aid against stale reads only: after a
// restart the caches are read anew. Whoever owns the book owns them.
type assumptions struct {
	byJob map[types.UID]assumption
}

func (a *assumptions) assume(job *boursev1.ComputeJob, versions []string, c chosen, now time.Time) {
	if a.byJob == nil {
		a.byJob = map[types.UID]assumption{}
	}
	for uid, older := range a.byJob {
		if now.After(older.until) {
			delete(a.byJob, uid)
		}
	}
	a.byJob[job.UID] = assumption{versions: versions, chosen: c, until: now.Add(listing.AcceptWithin)}
}

// decided returns what was chosen for the job. It stands when it was chosen on this very version of the job: the version is stale, or the
// write was refused. A newer version without a lease proves that the choice was never written; it is forgotten then.
func (a *assumptions) decided(job *boursev1.ComputeJob) (c chosen, stands, known bool) {
	assumed, known := a.byJob[job.UID]
	if !known {
		return chosen{}, false, false
	}
	if !slices.Contains(assumed.versions, job.ResourceVersion) {
		delete(a.byJob, job.UID)
		return assumed.chosen, false, true
	}
	return assumed.chosen, true, true
}

// drop forgets what was assumed for a job that will not get its choice.
func (a *assumptions) drop(job *boursev1.ComputeJob) { delete(a.byJob, job.UID) }
