// SPDX-License-Identifier: Apache-2.0

package listing_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// A job whose lease was refused is matched again, so what was accepted, and may have been paid for, never counts as refused.
func TestRefused(t *testing.T) {
	accepted := func(l *boursev1.GPULease) {
		l.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)}
	}
	cases := map[string]struct {
		told   string // why the market ended it
		said   string // why the supplier says that it ended
		change func(*boursev1.GPULease)
		want   bool
	}{
		"one that is open":                             {},
		"one that the supplier does not accept":        {said: boursev1.EndNotAccepted, want: true},
		"one that nobody answered":                     {told: boursev1.EndNotAccepted, want: true},
		"one whose supplier left before":               {told: boursev1.EndSupplierLeft, want: true},
		"one whose supplier left after":                {told: boursev1.EndSupplierLeft, change: accepted},
		"one that was ended for another part":          {told: boursev1.EndPartEnded, said: boursev1.EndNotAccepted},
		"one that was accepted, and is said not to be": {said: boursev1.EndNotAccepted, change: accepted},
		"one that was used, and is said not to be accepted": {said: boursev1.EndNotAccepted, change: func(l *boursev1.GPULease) {
			l.Status.Usage = &boursev1.LeaseUsage{Sequence: 1}
		}},
		"one that was paid, and is said not to be accepted": {said: boursev1.EndNotAccepted, change: func(l *boursev1.GPULease) {
			l.Status.Paid = new(int64(1))
		}},
		"one that failed": {said: boursev1.EndFault, change: accepted},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, lease := builders.Leased(t, "train")
			lease.Status = boursev1.GPULeaseStatus{}
			if tc.change != nil {
				tc.change(lease)
			}
			if tc.told != "" {
				lease.Spec.State, lease.Spec.EndReason = boursev1.LeaseEnded, tc.told
			}
			if tc.said != "" {
				lease.Status.End = &boursev1.LeaseEnd{Reason: tc.said, Party: boursev1.PartySupplier}
			}
			if got := listing.Refused(lease); got != tc.want {
				t.Errorf("refused: %t, want %t", got, tc.want)
			}
		})
	}
}
