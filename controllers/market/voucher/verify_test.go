// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// promise returns a lease and its buyer's voucher for the amount, signed by the named wallet.
func promise(t *testing.T, gross int64, signedBy string) (*boursev1.GPULease, *boursev1.Voucher) {
	t.Helper()
	_, lease := builders.Leased(t, "train")
	program, err := chain.ParseAddress(string(lease.Spec.Escrow.ProgramID))
	if err != nil {
		t.Fatal(err)
	}
	address, err := chain.ParseAddress(string(lease.Spec.Escrow.Address))
	if err != nil {
		t.Fatal(err)
	}
	message := escrow.VoucherMessage(program, address, money.Amount(gross))
	signature, err := builders.Wallet(signedBy).Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	return lease, &boursev1.Voucher{
		ObjectMeta: metav1.ObjectMeta{Namespace: builders.Buyer, Name: lease.Name, Generation: 1},
		Spec: boursev1.VoucherSpec{
			Lease:  boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name},
			Escrow: lease.Spec.Escrow.Address, ProgramID: lease.Spec.Escrow.ProgramID,
			Sequence: 1, Gross: &gross, UsageDigest: builders.Hash("record"), Signature: boursev1.SolanaSignature(signature.String()),
		},
	}
}

func pass(t *testing.T, hub *fakehub.Hub, voucher *boursev1.Voucher) *metav1.Condition {
	t.Helper()
	hub.Read(voucher)
	r := &Reconciler{Teller: hub.Teller(), Hub: hub}
	if _, err := r.Reconcile(t.Context(), voucher); err != nil {
		t.Fatal(err)
	}
	hub.Read(voucher)
	return meta.FindStatusCondition(voucher.Status.Conditions, boursev1.VoucherVerified)
}

func TestVerify(t *testing.T) {
	const most = 1_480_000_000 // what the deposit covers
	cases := map[string]struct {
		gross    int64
		signedBy string
		change   func(*boursev1.GPULease, *boursev1.Voucher)
		status   metav1.ConditionStatus
		reason   string
	}{
		"the buyer's promise": {
			gross: 5, signedBy: builders.Buyer, status: metav1.ConditionTrue, reason: boursev1.ReasonSignatureHolds,
		},
		"a promise of all that the deposit covers": {
			gross: most, signedBy: builders.Buyer, status: metav1.ConditionTrue, reason: boursev1.ReasonSignatureHolds,
		},
		"a promise of more than the deposit covers": {
			gross: most + 1, signedBy: builders.Buyer, status: metav1.ConditionFalse, reason: boursev1.ReasonSignatureRefused,
		},
		"a stranger's promise": {
			gross: 5, signedBy: "stranger", status: metav1.ConditionFalse, reason: boursev1.ReasonSignatureRefused,
		},
		"another amount than the one signed": {
			gross: 5, signedBy: builders.Buyer,
			change: func(_ *boursev1.GPULease, v *boursev1.Voucher) { v.Spec.Gross = new(int64(6)) },
			status: metav1.ConditionFalse, reason: boursev1.ReasonSignatureRefused,
		},
		"no promise": {
			gross: 5, signedBy: builders.Buyer,
			change: func(_ *boursev1.GPULease, v *boursev1.Voucher) { v.Spec.Gross = nil },
			status: metav1.ConditionUnknown, reason: boursev1.ReasonNoPromise,
		},
		"a lease that is not there": {
			gross: 5, signedBy: builders.Buyer,
			change: func(_ *boursev1.GPULease, v *boursev1.Voucher) { v.Spec.Lease.Name = "x" },
			status: metav1.ConditionFalse, reason: boursev1.ReasonLeaseUnknown,
		},
		"another buyer's lease": {
			gross: 5, signedBy: builders.Buyer,
			change: func(l *boursev1.GPULease, _ *boursev1.Voucher) { l.Spec.Job.Namespace = "team-b" },
			status: metav1.ConditionFalse, reason: boursev1.ReasonLeaseUnknown,
		},
		"another escrow": {
			gross: 5, signedBy: builders.Buyer,
			change: func(l *boursev1.GPULease, _ *boursev1.Voucher) { l.Spec.Escrow.Address = builders.Address("x") },
			status: metav1.ConditionFalse, reason: boursev1.ReasonLeaseUnknown,
		},
		"an escrow that does not follow from the lease": {
			gross: 5, signedBy: builders.Buyer,
			change: func(l *boursev1.GPULease, _ *boursev1.Voucher) { l.Spec.Escrow.ID = builders.Hash("x") },
			status: metav1.ConditionFalse, reason: boursev1.ReasonSignatureRefused,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease, voucher := promise(t, tc.gross, tc.signedBy)
			if tc.change != nil {
				tc.change(lease, voucher)
			}
			hub := fakehub.New(t, nil, lease, voucher)
			if got := pass(t, hub, voucher); got == nil || got.Status != tc.status || got.Reason != tc.reason {
				t.Errorf("Verified is %+v, want %s/%s", got, tc.status, tc.reason)
			}
			if wrote := hub.Writes(func() { pass(t, hub, voucher) }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestAVerifiedPromiseOutlivesItsLease(t *testing.T) {
	lease, voucher := promise(t, 5, builders.Buyer)
	hub := fakehub.New(t, nil, lease, voucher)
	pass(t, hub, voucher)
	var gone client.Object = lease
	if err := hub.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if got := pass(t, hub, voucher); got.Status != metav1.ConditionTrue {
		t.Errorf("Verified is %+v, want what it was", got)
	}
}
