// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/builders"
)

// leave tells the hub that the wallet's member leaves, or asks how far it is.
func (l *joinLab) leave(wallet *signer.Keypair, mode join.Mode) (join.Departure, error) {
	l.Helper()
	challenge, network, err := l.hub.Challenge(l.Context(), wallet.PublicKey())
	if err != nil {
		l.Fatal(err)
	}
	claim := join.Claim{
		Version: join.Version, Kind: join.Leave, Hub: l.hub.Hub(), Network: join.Network(network),
		Wallet: join.Key(wallet.PublicKey()), Challenge: challenge, Mode: mode,
	}
	message, err := claim.Encode()
	if err != nil {
		l.Fatal(err)
	}
	signature, err := wallet.Sign(l.Context(), message)
	if err != nil {
		l.Fatal(err)
	}
	return l.hub.Leave(l.Context(), message, signature)
}

// leased makes a lease in a supplier's namespace, as the market does.
func (l *joinLab) leased(namespace, name string, change func(*boursev1.GPULease)) *boursev1.GPULease {
	l.Helper()
	_, lease := builders.Leased(l.T, name)
	lease.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: lease.Name}
	lease.Status = boursev1.GPULeaseStatus{}
	if change != nil {
		change(lease)
	}
	l.create(lease)
	return lease
}

// settle says of a lease that it is over and that nothing was deposited for it.
func (l *joinLab) settle(lease *boursev1.GPULease) {
	l.Helper()
	lease.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotFunded, Party: boursev1.PartyBuyer, At: metav1.NewTime(builders.Start)}
	kube.True(lease, boursev1.LeaseSettled, boursev1.ReasonNothingOwed, "No deposit was made")
	kube.Failed(lease, boursev1.Succeeded, boursev1.EndNotFunded, "The buyer did not deposit in time")
	if err := l.admin.Status().Update(l.Context(), lease); err != nil {
		l.Fatal(err)
	}
}

// open waits until the market counts so many open leases of the member that leaves, as the member is told.
func (l *joinLab) open(wallet *signer.Keypair, supplied, bought int32) {
	l.Helper()
	took := l.eventually("the market counts what is open", func() bool {
		of := l.member(join.Namespace(join.Key(wallet.PublicKey()))).Status.Leaving
		return of != nil && *of.Supplied == supplied && *of.Bought == bought
	})
	if got, err := l.leave(wallet, join.Look); err != nil || !got.Known || got.Supplied != supplied || got.Bought != bought || got.Until.IsZero() {
		l.Errorf("it is told %+v, %v", got, err)
	}
	l.Logf("%d and %d leases are counted after %s", supplied, bought, took)
}

// hasLeft waits until the member is gone, and its token is void.
func (l *joinLab) hasLeft(wallet *signer.Keypair, own client.Client, namespace string) {
	l.Helper()
	took := l.eventually("the member is gone", func() bool {
		return apierrors.IsNotFound(l.admin.Get(l.Context(), client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, &boursev1.Member{}))
	})
	if _, err := l.leave(wallet, join.Look); !errors.Is(err, join.NotMember) {
		l.Errorf("it is told %v, want %s", err, join.NotMember)
	}
	l.Logf("gone after %s", took)
	l.eventually("its token opens nothing", func() bool {
		err := own.List(l.Context(), &boursev1.GPUOfferList{}, client.InNamespace(namespace))
		return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err)
	})
}

// space returns the member's namespace.
func (l *joinLab) space(name string) *corev1.Namespace {
	l.Helper()
	namespace := &corev1.Namespace{}
	if err := l.admin.Get(l.Context(), client.ObjectKey{Name: name}, namespace); err != nil {
		l.Fatal(err)
	}
	return namespace
}

func TestAMemberLeavesWhenItsLeasesAreSettled(t *testing.T) {
	l := newJoinLab(t)
	// Nobody ends namespaces here, so a second run needs another one.
	wallet, agent := builders.Wallet("leaver of "+time.Now().String()), builders.Wallet("agent")
	access := l.must(l.send(join.Join, wallet, agent))
	l.count(access.Namespace)
	own := l.as(access)
	supplied := l.leased(access.Namespace, "supplied", nil)
	elsewhere := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "leave-elsewhere-"}}
	l.create(elsewhere)
	bought := l.leased(elsewhere.Name, "bought", func(lease *boursev1.GPULease) {
		lease.Spec.Buyer, lease.Spec.Job.Namespace = boursev1.SolanaAddress(wallet.PublicKey().String()), access.Namespace
	})

	if _, err := l.leave(wallet, join.WhenSettled); err != nil {
		t.Fatal(err)
	}
	l.open(wallet, 1, 1)
	l.eventually("the member is matched no more", func() bool {
		ready := meta.FindStatusCondition(l.member(access.Namespace).Status.Conditions, boursev1.Ready)
		return ready != nil && ready.Reason == boursev1.ReasonLeaving
	})
	if _, err := l.send(join.Renew, wallet, agent); err != nil {
		t.Errorf("it gets no token to settle with: %v", err)
	}
	if err := own.List(t.Context(), &boursev1.GPULeaseList{}, client.InNamespace(access.Namespace)); err != nil {
		t.Errorf("it cannot settle: %v", err)
	}
	if supplied = l.read(supplied); supplied.Spec.State != boursev1.LeaseActive {
		t.Errorf("its lease is %s: it was to go on", supplied.Spec.State)
	}
	l.settle(supplied)
	l.open(wallet, 0, 1)
	l.settle(bought)
	l.hasLeft(wallet, own, access.Namespace)
	if l.space(access.Namespace).DeletionTimestamp.IsZero() {
		t.Error("its namespace stays, though nobody needs what is in it")
	}
	if _, err := l.send(join.Join, wallet, agent); !errors.Is(err, join.Leaving) {
		t.Errorf("joining while the namespace goes: %v, want %s", err, join.Leaving)
	}
}

func (l *joinLab) read(lease *boursev1.GPULease) *boursev1.GPULease {
	l.Helper()
	found := &boursev1.GPULease{}
	if err := l.admin.Get(l.Context(), client.ObjectKeyFromObject(lease), found); err != nil {
		l.Fatal(err)
	}
	return found
}

func TestAMemberLeavesAtOnce(t *testing.T) {
	l := newJoinLab(t)
	wallet, agent := builders.Wallet("forced"), builders.Wallet("agent")
	access := l.must(l.send(join.Join, wallet, agent))
	l.count(access.Namespace)
	own := l.as(access)
	lease := l.leased(access.Namespace, "forced", nil)
	job := jobIn(access.Namespace, "mine")
	if err := own.Create(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if _, err := l.leave(wallet, join.AtOnce); err != nil {
		t.Fatal(err)
	}
	l.eventually("its lease is to end by its fault", func() bool {
		found := l.read(lease)
		return found.Spec.State == boursev1.LeaseEnded && found.Spec.EndReason == boursev1.EndSupplierLeft
	})
	l.eventually("its job is deleted", func() bool {
		return apierrors.IsNotFound(l.admin.Get(t.Context(), client.ObjectKeyFromObject(job), &boursev1.ComputeJob{}))
	})
	back := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"leave":{"mode":"WhenSettled"}}}`))
	if err := l.admin.Patch(t.Context(), l.member(access.Namespace), back); !apierrors.IsInvalid(err) {
		t.Errorf("what was ended at once is taken back: %v", err)
	}
	// Its supplier says how it ended, with what was paid: audits need that lease, so it stays, and with it the namespace.
	lease = l.read(lease)
	lease.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndSupplierLeft, Party: boursev1.PartySupplier, At: metav1.NewTime(builders.Start)}
	lease.Status.Paid = new(int64(1))
	kube.True(lease, boursev1.LeaseSettled, boursev1.ReasonClosed, "The rest went back to the buyer")
	kube.Failed(lease, boursev1.Succeeded, boursev1.EndSupplierLeft, "The supplier left the market before the lease was over")
	if err := l.admin.Status().Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	l.open(wallet, 1, 0) // until it is on record
	l.record(lease)
	l.hasLeft(wallet, own, access.Namespace)
	l.read(lease)
	if !l.space(access.Namespace).DeletionTimestamp.IsZero() {
		t.Error("the namespace goes with a lease that was paid")
	}
	l.must(l.send(join.Join, wallet, agent)) // and finds its history
}

// record writes the settlement that closed the lease, as the market does.
func (l *joinLab) record(lease *boursev1.GPULease) {
	l.Helper()
	public := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: boursev1.PublicNamespace}}
	if err := l.admin.Create(l.Context(), public); err != nil && !apierrors.IsAlreadyExists(err) {
		l.Fatal(err)
	}
	l.create(&boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: lease.Name + "-0001"},
		Spec: boursev1.SettlementSpec{
			Lease: boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name},
			Job:   boursev1.ObjectReference{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name},
			Kind:  boursev1.SettlementRefund, Period: 1, Token: lease.Spec.Payment.Token, Mint: lease.Spec.Payment.Mint,
			GrossTotal: new(int64(1)), Debit: new(int64(0)), SupplierPaid: new(int64(0)), TreasuryPaid: new(int64(0)), Burned: new(int64(0)),
			Refunded: new(int64(1)), Amount: "0.00000001 IO", Transaction: boursev1.SolanaSignature(strings.Repeat("1", 64)), Slot: new(int64(1)),
			Time: metav1.NewTime(builders.Start),
		},
	})
}

func TestASuspendedMemberLeavesAndStaysSuspended(t *testing.T) {
	l := newJoinLab(t)
	wallet, agent := builders.Wallet("suspended leaver"), builders.Wallet("agent")
	access := l.must(l.send(join.Join, wallet, agent))
	suspend := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Suspended"}}`))
	if err := l.admin.Patch(t.Context(), l.member(access.Namespace), suspend); err != nil {
		t.Fatal(err)
	}
	if got, err := l.leave(wallet, join.WhenSettled); err != nil || !got.Suspended {
		t.Fatalf("got %+v, %v", got, err)
	}
	l.eventually("nothing of it is left but the entry", func() bool {
		settled := meta.FindStatusCondition(l.member(access.Namespace).Status.Conditions, boursev1.MemberSettled)
		return settled != nil && settled.Reason == boursev1.ReasonKept
	})
	if _, err := l.send(join.Join, wallet, agent); !errors.Is(err, join.Suspended) {
		t.Errorf("joining: %v, want %s", err, join.Suspended)
	}
}
