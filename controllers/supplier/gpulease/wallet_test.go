// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/signer/signertest"
	"github.com/bourse-dev/bourse/test/builders"
)

// stop puts the supplier's wallet behind a switch.
func (b *bench) stop(reason signer.Reason) *signertest.Refusing {
	wallet := &signertest.Refusing{Signer: builders.Wallet(builders.Supplier), Reason: reason}
	b.wallet = wallet
	return wallet
}

func TestAWalletThatDoesNotSignClaimsNothingAndSaysWhy(t *testing.T) {
	b := metered(t)
	wallet := b.stop(signer.Paused)
	b.promise()
	if result := b.rest(); result.RequeueAfter != askWallet {
		t.Errorf("the wallet is asked again after %s, want %s", result.RequeueAfter, askWallet)
	}
	b.want(boursev1.LeaseSettled, metav1.ConditionFalse, boursev1.ReasonPaused)
	b.want(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady)
	wallet.Reason = ""
	b.until("the first period is paid", func() bool { return b.paid() == grossOf(480) })
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonClaimed)
}

func TestAWalletThatDoesNotSignRefundsLater(t *testing.T) {
	b := metered(t)
	b.promise()
	b.until("the first period is paid", func() bool { return b.paid() == grossOf(480) })
	wallet := b.stop(signer.SpendCapReached)
	b.deleteJob()
	b.rest()
	b.vanish()
	if result := b.rest(); result.RequeueAfter != askWallet {
		t.Errorf("the wallet is asked again after %s, want %s", result.RequeueAfter, askWallet)
	}
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonSpendCapReached)
	wallet.Reason = ""
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
	b.nothingLeft()
}

// So long after the deadline a lease is over, even if its wallet never signs again.
func TestAWalletThatNeverSignsAgainKeepsNoLease(t *testing.T) {
	b := metered(t)
	b.stop(signer.Paused)
	b.promise()
	b.deleteJob()
	b.rest()
	b.vanish()
	b.rest()
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(finalizerBound).Sub(b.hub.Now()))
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionFalse, boursev1.ReasonPaused)
	b.nothingLeft()
}
