// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// The indexes that matching reads, and their one value where they only pick.
const (
	byJob       = "spec.job.uid"
	byOpen      = "lease.open"
	byUnmatched = "job.unmatched"
	picked      = "true"
)

type index struct {
	of     client.Object
	name   string
	values client.IndexerFunc
}

// indexes are the fields that the controller finds objects by.
func indexes() []index {
	return []index{
		{&boursev1.GPULease{}, byJob, func(obj client.Object) []string {
			if lease, ok := obj.(*boursev1.GPULease); ok {
				return []string{lease.Spec.Job.UID}
			}
			return nil
		}},
		{&boursev1.GPULease{}, byOpen, func(obj client.Object) []string {
			if lease, ok := obj.(*boursev1.GPULease); ok && listing.Open(lease) {
				return []string{picked}
			}
			return nil
		}},
		{&boursev1.ComputeJob{}, byUnmatched, func(obj client.Object) []string {
			if job, ok := obj.(*boursev1.ComputeJob); ok && unmatched(job) {
				return []string{picked}
			}
			return nil
		}},
	}
}

func unmatched(job *boursev1.ComputeJob) bool {
	return job.Status.Lease == nil && job.DeletionTimestamp.IsZero() && !listing.Ended(job)
}

// watch names whose changes may move a job: its lease and its voucher, the offers that can serve it while it has none, and who may take
// part.
func (r *Reconciler) watch(b *ctrl.Builder) *ctrl.Builder {
	return b.
		Watches(&boursev1.GPULease{}, r.leaseEvents()).
		Watches(&boursev1.Voucher{}, handler.EnqueueRequestsFromMapFunc(r.jobOfVoucher)).
		Watches(&boursev1.GPUOffer{}, r.offerEvents()).
		Watches(&boursev1.Market{}, handler.EnqueueRequestsFromMapFunc(
			func(ctx context.Context, _ client.Object) []reconcile.Request {
				return append(r.suppliers(ctx), r.unmatchedJobs(ctx)...)
			},
		), builder.WithPredicates(kube.SpecOr(boursev1.Ready))).
		Watches(&boursev1.Member{}, handler.EnqueueRequestsFromMapFunc(
			func(ctx context.Context, member client.Object) []reconcile.Request {
				own := client.InNamespace(member.GetNamespace())
				return append(r.suppliers(ctx, own), r.unmatchedJobs(ctx, own)...)
			},
		)).
		Watches(&boursev1.StakePosition{}, handler.EnqueueRequestsFromMapFunc(
			func(ctx context.Context, stake client.Object) []reconcile.Request {
				return r.suppliers(ctx, client.InNamespace(stake.GetNamespace()))
			},
		))
}

// suppliers lets the book read offers anew because what the market holds of their suppliers may have changed, and returns the waiting jobs
// that they can serve now.
func (r *Reconciler) suppliers(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	var offers boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &offers, options...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list the offers to read again")
		return nil
	}
	var requests []reconcile.Request
	for i := range offers.Items {
		offer := &offers.Items[i]
		r.feed.offer(client.ObjectKeyFromObject(offer))
		if entry, err := r.listed(ctx, offer); err == nil { // an offer that cannot be read serves nobody
			requests = append(requests, r.feed.served(&entry, r.Now())...)
		}
	}
	return requests
}

func (r *Reconciler) unmatchedJobs(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	var jobs boursev1.ComputeJobList
	if err := r.Hub.List(ctx, &jobs, append(options, client.MatchingFields{byUnmatched: picked})...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list the jobs to match again")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(jobs.Items))
	for i := range jobs.Items {
		key := types.NamespacedName{Namespace: jobs.Items[i].Namespace, Name: jobs.Items[i].Name}
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

func (r *Reconciler) jobOfVoucher(ctx context.Context, obj client.Object) []reconcile.Request {
	voucher, ok := obj.(*boursev1.Voucher)
	if !ok {
		return nil
	}
	var lease boursev1.GPULease
	if err := r.Hub.Get(ctx, keyOf(&voucher.Spec.Lease), &lease); err != nil {
		return nil // a voucher without a lease moves no job
	}
	return []reconcile.Request{jobOf(&lease)}
}
