// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// over is a lease that has ended, with what its conditions say.
func over(t *testing.T, conditions ...metav1.Condition) *boursev1.GPULease {
	t.Helper()
	_, lease := builders.Leased(t, "train")
	lease.CreationTimestamp = metav1.NewTime(builders.Start)
	lease.Status.Conditions = append(lease.Status.Conditions, conditions...)
	lease.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotFunded, Party: boursev1.PartyBuyer, At: metav1.NewTime(builders.Start)}
	return lease
}

func settled(reason string) []metav1.Condition {
	return []metav1.Condition{
		builders.Condition(boursev1.LeaseSettled, metav1.ConditionTrue, reason),
		builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndNotFunded),
	}
}

func pass(t *testing.T, hub *fakehub.Hub, lease *boursev1.GPULease) (there bool, again time.Duration) {
	t.Helper()
	hub.Read(lease)
	r := &Reconciler{Hub: hub, Now: hub.Now}
	result, err := r.Reconcile(t.Context(), lease)
	if err != nil {
		t.Fatal(err)
	}
	err = hub.Get(t.Context(), client.ObjectKeyFromObject(lease), lease)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil, result.RequeueAfter
}

func TestWhichLeasesAreKept(t *testing.T) {
	tx := func(state boursev1.TransactionState) *boursev1.Transaction {
		return &boursev1.Transaction{State: state}
	}
	nothing := func(t *testing.T) *boursev1.GPULease {
		t.Helper()
		return over(t, settled(boursev1.ReasonNothingOwed)...)
	}
	cases := map[string]struct {
		lease   func(t *testing.T) *boursev1.GPULease
		keeps   bool
		voucher boursev1.VoucherSpec
	}{
		"one that its buyer deposited for, whatever the supplier says": {nothing, true, boursev1.VoucherSpec{Deposit: tx(boursev1.TransactionLanded)}},
		"one whose deposit may be on its way":                          {nothing, true, boursev1.VoucherSpec{Deposit: tx(boursev1.TransactionSigned)}},
		"one whose deposit failed":                                     {nothing, false, boursev1.VoucherSpec{Deposit: tx(boursev1.TransactionFailed)}},
		"one whose buyer took its deposit back": {nothing, false, boursev1.VoucherSpec{
			Deposit: tx(boursev1.TransactionLanded), Refund: tx(boursev1.TransactionLanded),
		}},
		"one that nothing was deposited for": {lease: nothing},
		"one that was refused": {lease: func(t *testing.T) *boursev1.GPULease {
			t.Helper()
			lease := over(t)
			lease.Status.Conditions, lease.Status.End.Reason = nil, boursev1.EndNotAccepted
			return lease
		}},
		"one that the market gave up, and whose supplier says nothing": {lease: func(t *testing.T) *boursev1.GPULease {
			t.Helper()
			lease := over(t)
			lease.Status = boursev1.GPULeaseStatus{}
			lease.Spec.State, lease.Spec.EndReason = boursev1.LeaseEnded, boursev1.EndNotAccepted
			return lease
		}},
		"one that was paid": {lease: func(t *testing.T) *boursev1.GPULease { t.Helper(); return over(t, settled(boursev1.ReasonClosed)...) }, keeps: true},
		"one that was paid, whatever it says": {lease: func(t *testing.T) *boursev1.GPULease {
			t.Helper()
			lease := over(t, settled(boursev1.ReasonNothingOwed)...)
			lease.Status.Paid = new(int64(1))
			return lease
		}, keeps: true},
		"one that is being settled": {lease: func(t *testing.T) *boursev1.GPULease { t.Helper(); return over(t) }, keeps: true},
		"one that runs": {lease: func(t *testing.T) *boursev1.GPULease {
			t.Helper()
			lease := over(t)
			lease.Status.End = nil
			return lease
		}, keeps: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease := tc.lease(t)
			voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}, Spec: tc.voucher}
			voucher.Spec.Lease = boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}
			hub := fakehub.New(t, nil, lease, voucher)
			there, again := pass(t, hub, lease)
			if !there || again == 0 && !tc.keeps {
				t.Fatalf("at first it is there: %t, and is looked at again in %s", there, again)
			}
			hub.Step(max(again, 365*24*time.Hour))
			if there, _ = pass(t, hub, lease); there != tc.keeps {
				t.Errorf("in the end it is there: %t", there)
			}
			err := hub.Get(t.Context(), client.ObjectKeyFromObject(voucher), voucher)
			if client.IgnoreNotFound(err) != nil || (err == nil) != tc.keeps {
				t.Errorf("its voucher: %v", err)
			}
		})
	}
}

// The voucher of another lease that has the same name in another supplier's namespace stays.
func TestTheVoucherOfAnotherLeaseIsKept(t *testing.T) {
	lease := over(t, settled(boursev1.ReasonNothingOwed)...)
	voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}}
	voucher.Spec.Lease = boursev1.ObjectReference{Namespace: "somebody-else", Name: lease.Name}
	hub := fakehub.New(t, nil, lease, voucher)
	hub.Step(365 * 24 * time.Hour)
	if there, _ := pass(t, hub, lease); there {
		t.Error("the lease is still there")
	}
	hub.Read(voucher)
}

func TestNotBeforeItsTime(t *testing.T) {
	lease := over(t, settled(boursev1.ReasonNothingOwed)...)
	hub := fakehub.New(t, nil, lease)
	_, again := pass(t, hub, lease)
	if again != retention {
		t.Fatalf("it is looked at again in %s, want %s", again, retention)
	}
	hub.Step(retention - time.Second)
	if there, _ := pass(t, hub, lease); !there {
		t.Error("it is gone too early")
	}
	hub.Step(time.Second)
	if there, _ := pass(t, hub, lease); there {
		t.Error("it is still there")
	}
}

func TestADeletedLeaseIsLetGoWithoutItsSupplier(t *testing.T) {
	cases := map[string]struct {
		conditions []metav1.Condition
		within     func(lease *boursev1.GPULease) time.Duration
	}{
		"soon if it is over": {settled(boursev1.ReasonClosed), func(*boursev1.GPULease) time.Duration { return forGood }},
		"when it is given up if it is not": {nil, func(lease *boursev1.GPULease) time.Duration {
			return listing.GivenUp(lease).Sub(builders.Start)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease := over(t, tc.conditions...)
			lease.Finalizers = []string{boursev1.FinalizerRelease}
			lease.DeletionTimestamp = new(metav1.NewTime(builders.Start))
			hub := fakehub.New(t, nil, lease)
			want := tc.within(lease)
			if there, again := pass(t, hub, lease); !there || again != want {
				t.Fatalf("at first it is there: %t, and is looked at again in %s, want %s", there, again, want)
			}
			hub.Step(want)
			if there, _ := pass(t, hub, lease); there {
				t.Error("it is still there")
			}
		})
	}
}
