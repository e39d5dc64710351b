// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
)

// withdraw takes a member that the market's admin suspended its access to the hub, if it got that by joining.
func (r *Reconciler) withdraw(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	if member.Spec.State != boursev1.MemberSuspended || r.Access == nil {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.Access.Withdraw(ctx, member.Namespace)
}

// admit lets a member take part unless it is suspended or an older one holds the same wallet.
func (r *Reconciler) admit(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	if member.Spec.State == boursev1.MemberSuspended {
		kube.Failed(member, boursev1.Ready, boursev1.ReasonSuspended, "The market's admin has suspended the member")
		return reconcile.Result{}, nil
	}
	if !isAddress(member.Spec.Wallet) {
		kube.Failed(member, boursev1.Ready, boursev1.ReasonWalletInvalid, "The wallet is not a Solana address")
		return reconcile.Result{}, nil
	}
	rivals, err := r.sameWallet(ctx, member)
	if err != nil {
		return reconcile.Result{}, err
	}
	for i := range rivals {
		if older(&rivals[i], member) {
			kube.Failed(member, boursev1.Ready, boursev1.ReasonWalletTaken, "Another namespace holds this wallet")
			return reconcile.Result{}, nil
		}
	}
	if member.Spec.Leave != nil {
		kube.Failed(member, boursev1.Ready, boursev1.ReasonLeaving, "The member leaves: it buys and sells nothing new")
		return reconcile.Result{}, nil
	}
	kube.True(member, boursev1.Ready, boursev1.ReasonAdmitted, "The member may buy and sell")
	return reconcile.Result{}, nil
}

func isAddress(wallet boursev1.SolanaAddress) bool {
	_, err := chain.ParseAddress(string(wallet))
	return err == nil
}

// older orders members by age, and those of one age by namespace.
func older(a, b *boursev1.Member) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace < b.Namespace
}
