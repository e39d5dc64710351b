// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// sweep ends the twins of jobs that had this name and are gone for good, such as one whose finalizer was taken away while the hub could not
// be reached. The job that the cache has under the name, if any, is known; of all others the API server itself must say that they are gone.
func (r *Reconciler) sweep(ctx context.Context, key types.NamespacedName, known types.UID) error {
	var twins boursev1.ComputeJobList
	if err := r.Hub.List(ctx, &twins, client.InNamespace(r.Namespace), client.MatchingFields{byOrigin: key.String()}); err != nil {
		return fmt.Errorf("list jobs of hub: %w", err)
	}
	for i := range twins.Items {
		twin := &twins.Items[i]
		from, ok := r.originOf(twin)
		if !ok || from.uid == known || !twin.DeletionTimestamp.IsZero() {
			continue
		}
		there, err := r.there(ctx, from)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		err = r.Hub.Delete(ctx, twin, client.Preconditions{UID: new(twin.UID)})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete job of hub: %w", err)
		}
		ctrl.LoggerFrom(ctx).Info("Deleted a job of the hub whose original is gone", "hubJob", twin.Namespace+"/"+twin.Name, "originUID", from.uid)
	}
	return nil
}

// there asks the API server whether the very job is still there.
func (r *Reconciler) there(ctx context.Context, from origin) (bool, error) {
	var job boursev1.ComputeJob
	err := r.LocalLive.Get(ctx, from.job, &job)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the original of a job of the hub: %w", err)
	}
	return job.UID == from.uid, nil
}
