// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/ray"
)

// meter writes the usage record that is due. It reads when the workers became ready from the API server, so neither a restart nor an
// outage of the operator changes a figure. The last record is made while the pods are still there to tell.
func (r *Reconciler) meter(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !kube.IsTrue(lease, boursev1.LeaseFunded) {
		return reconcile.Result{}, nil
	}
	terms, err := meterTerms(lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	last, err := lastRecord(lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	seen := sighting(lease, state)
	var next *meter.Record
	if end := lease.Status.End; end != nil {
		next, err = terms.Final(last, seen, end.At.Time)
	} else {
		next, err = terms.Next(last, seen, r.Now())
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("meter lease: %w", err)
	}
	if next != nil {
		lease.Status.Usage = usageOf(*next)
	}
	return reconcile.Result{}, nil
}

// sighting is what the cluster says of the workers. A worker that is younger than the last record took the place of one whose end
// nobody saw.
func sighting(lease *boursev1.GPULease, state ray.State) meter.Sighting {
	seen := meter.Sighting{Ready: state.AllReady(lease.Spec.Workers), Since: state.Since}
	if usage := lease.Status.Usage; usage != nil && !seen.Ready && state.Began(usage.Through.Time) {
		seen.Since = time.Time{}
	}
	return seen
}

// lastRecord reads the newest usage record, or nil when there is none.
func lastRecord(lease *boursev1.GPULease) (*meter.Record, error) {
	usage := lease.Status.Usage
	if usage == nil {
		return nil, nil //nolint:nilnil // no record is a state of the meter
	}
	digest, err := meter.ParseDigest(usage.Digest)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	record := meter.Record{
		Sequence:        usage.Sequence,
		GPUMilliseconds: uint64(max(0, number(usage.GPUMilliseconds))),
		Gross:           amount(usage.Gross),
		Through:         usage.Through.Time,
		Final:           usage.Final == boursev1.UsageFinal,
		Digest:          digest,
	}
	if usage.ReadySince != nil {
		record.ReadySince = usage.ReadySince.Time
	}
	return &record, nil
}

func usageOf(record meter.Record) *boursev1.LeaseUsage {
	usage := &boursev1.LeaseUsage{
		Sequence:        record.Sequence,
		GPUMilliseconds: new(int64(record.GPUMilliseconds)),
		Gross:           units(record.Gross),
		Through:         metav1.NewTime(record.Through),
		Digest:          record.Digest.String(),
		Final:           boursev1.UsageOpen,
	}
	if record.Open() {
		usage.ReadySince = new(metav1.NewTime(record.ReadySince))
	}
	if record.Final {
		usage.Final = boursev1.UsageFinal
	}
	return usage
}

// units writes base units; a token's whole supply fits.
func units(value money.Amount) *int64 { return new(int64(value)) }
