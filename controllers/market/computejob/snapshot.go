// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

// republished is how long after a lease's acceptance its GPUs still count against the offer: by then the supplier has published
// the offer without them. If it has not, the next lease on them is refused and tried again, and nothing is sold twice.
const republished = 10 * time.Second

// snapshot is the book at one moment, with what is promised but not yet subtracted by the suppliers.
type snapshot struct {
	book   []book.Offer
	byName map[string]*boursev1.GPUOffer
}

func (r *Reconciler) snapshot(ctx context.Context) (snapshot, error) {
	var offers boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &offers); err != nil {
		return snapshot{}, fmt.Errorf("list offers: %w", err)
	}
	held, err := r.held(ctx)
	if err != nil {
		return snapshot{}, err
	}
	snap := snapshot{byName: map[string]*boursev1.GPUOffer{}}
	for i := range offers.Items {
		offer := &offers.Items[i]
		if !counts(offer, r.Now()) {
			continue
		}
		entry, err := bookOffer(offer)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Left an offer out of the book", "offer", offer.Namespace+"/"+offer.Name)
			continue
		}
		entry.Held = held[entry.Name]
		snap.book = append(snap.book, entry)
		snap.byName[entry.Name] = offer
	}
	return snap, nil
}

// counts says whether jobs may be matched to the offer now.
func counts(offer *boursev1.GPUOffer, now time.Time) bool {
	return kube.IsTrue(offer, boursev1.Ready) && offer.DeletionTimestamp.IsZero() && offer.Spec.ValidUntil.After(now)
}

// held is what is promised out of each offer and not yet out of its published numbers: leases that are not accepted, leases that
// were accepted a moment ago, and choices whose lease the cache does not show yet.
func (r *Reconciler) held(ctx context.Context) (map[string][]book.Gang, error) {
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.MatchingFields{byOpen: picked}); err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	held := map[string][]book.Gang{}
	for i := range leases.Items {
		lease := &leases.Items[i]
		if !reserves(lease, r.Now()) {
			continue
		}
		name := lease.Namespace + "/" + lease.Spec.Offer
		held[name] = append(held[name], book.Gang{Workers: int(lease.Spec.Workers), PerWorker: int(lease.Spec.PerWorker)})
	}
	for _, assumed := range r.assumed.open(r.Now()) {
		var lease boursev1.GPULease
		err := r.Hub.Get(ctx, keyOf(&assumed.chosen.lease), &lease)
		if err == nil {
			r.assumed.confirm(assumed)
			continue
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get lease: %w", err)
		}
		name := assumed.chosen.lease.Namespace + "/" + assumed.chosen.offer
		held[name] = append(held[name], assumed.gang)
	}
	return held, nil
}

// reserves says whether an open lease's GPUs may still be in its offer's published numbers.
func reserves(lease *boursev1.GPULease, now time.Time) bool {
	accepted := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseAccepted)
	if accepted == nil || !kube.IsTrue(lease, boursev1.LeaseAccepted) {
		return true
	}
	return now.Before(accepted.LastTransitionTime.Add(republished))
}

func demand(job *boursev1.ComputeJob, refused string) (book.Demand, error) {
	price, err := money.ParseUSD(string(job.Spec.Bid.MaxPriceUSD))
	if err != nil {
		return book.Demand{}, err
	}
	return book.Demand{
		UID:       string(job.UID),
		Models:    texts(job.Spec.GPUs.Models),
		Workers:   int(job.Spec.GPUs.Workers),
		PerWorker: int(job.Spec.GPUs.PerWorker),
		Token:     string(job.Spec.Bid.Token),
		MaxPrice:  price,
		Regions:   texts(job.Spec.Placement.Regions),
		Isolation: isolation(job.Spec.Placement.Isolation),
		Tier:      string(job.Spec.Placement.Tier),
		Egress:    egress(job.Spec.Placement.Egress),
		Duration:  time.Duration(job.Spec.DurationSeconds) * time.Second,
		Refused:   refused,
	}, nil
}

func bookOffer(offer *boursev1.GPUOffer) (book.Offer, error) {
	price, err := money.ParseUSD(string(offer.Spec.PriceUSD))
	if err != nil {
		return book.Offer{}, err
	}
	terms := &offer.Spec.Terms
	entry := book.Offer{
		Name:      offer.Namespace + "/" + offer.Name,
		Model:     string(offer.Spec.Model),
		Region:    string(offer.Spec.Region),
		Price:     price,
		Tokens:    texts(offer.Spec.Tokens),
		Tiers:     texts(terms.Tiers),
		Isolation: isolation(terms.Isolation),
		Egress:    egress(terms.Egress),
		Shortest:  time.Duration(terms.MinDurationSeconds) * time.Second,
		Longest:   time.Duration(terms.MaxDurationSeconds) * time.Second,
	}
	for _, shape := range offer.Spec.Shapes {
		entry.Shapes = append(entry.Shapes, book.Shape{Free: int(shape.FreeGPUs), Nodes: int(shape.Nodes)})
	}
	return entry, nil
}

func isolation(level boursev1.Isolation) book.Isolation {
	switch level {
	case boursev1.IsolationSandbox:
		return book.Sandbox
	case boursev1.IsolationVM:
		return book.VM
	case boursev1.IsolationConfidential:
		return book.Confidential
	default:
		return book.Container
	}
}

func egress(level boursev1.Egress) book.Egress {
	switch level {
	case boursev1.EgressRegistry:
		return book.Registry
	case boursev1.EgressInternet:
		return book.Internet
	default:
		return book.None
	}
}

func texts[T ~string](of []T) []string {
	list := make([]string, len(of))
	for i, one := range of {
		list[i] = string(one)
	}
	return list
}
