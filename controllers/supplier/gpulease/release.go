// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// The API's bounds on texts.
const (
	maxEndMessage       = 512
	maxTransactionError = 256
)

// recall ends the lease when the market or the buyer wants it to end.
func (r *Reconciler) recall(_ context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	reason := lease.Spec.EndReason
	if lease.Spec.State != boursev1.LeaseEnded {
		if lease.DeletionTimestamp.IsZero() {
			return reconcile.Result{}, nil
		}
		reason = boursev1.EndJobDeleted
	}
	switch reason {
	case boursev1.EndNotAccepted:
		r.end(lease, reason, boursev1.PartySupplier, r.Now(), "The lease was not accepted in time")
	case boursev1.EndNotFunded:
		r.end(lease, reason, boursev1.PartyBuyer, r.Now(), "The buyer did not deposit in time")
	case boursev1.EndSupplierLeft:
		if !kube.IsTrue(lease, boursev1.LeaseAccepted) {
			reason = boursev1.EndNotAccepted
		}
		r.end(lease, reason, boursev1.PartySupplier, r.Now(), "The supplier left the market before the lease was over")
	case boursev1.EndPartEnded:
		r.end(lease, reason, boursev1.PartyMarket, r.Now(), "Another part of the job ended or was not accepted")
	default:
		r.end(lease, boursev1.EndJobDeleted, boursev1.PartyBuyer, r.Now(), "The job was deleted")
	}
	return reconcile.Result{}, nil
}

// conclude ends the lease when its end is seen: the program has ended, the GPUs were taken away, or a bound in time is reached.
// Pods on a node that does not report are not seen, so they end nothing.
func (r *Reconciler) conclude(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if lease.Status.End != nil || !kube.IsTrue(lease, boursev1.LeaseFunded) {
		return reconcile.Result{}, nil
	}
	object, _, err := r.running(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	outcome, ended := ray.OutcomeOf(object)
	gone, over := r.noticeOver(lease, state)
	switch {
	case ended && felled(lease, outcome):
		r.endTaken(lease, outcome.At)
	case ended:
		r.endProgram(lease, outcome)
	case over:
		r.endTaken(lease, gone)
	default:
		return reconcile.Result{}, r.endInTime(lease, state, state.Obstacle(object))
	}
	return reconcile.Result{}, nil
}

// endInTime ends the lease when a bound in time is reached.
func (r *Reconciler) endInTime(lease *boursev1.GPULease, state ray.State, obstacle string) error {
	over, err := r.termOver(lease)
	if err != nil {
		return err
	}
	switch {
	case over && lease.Spec.Ends == boursev1.EndsWithTerm:
		r.end(lease, boursev1.EndTermReached, boursev1.PartyBuyer, r.Now(), "The cluster reached the end of its term")
	case over:
		r.end(lease, boursev1.EndJobFailed, boursev1.PartyBuyer, r.Now(), "The program ran past its term")
	case !state.AllReady(lease.Spec.Workers) && !state.Silent:
		r.endLate(lease, state, obstacle)
	}
	if lost, most := r.broken(lease); lost >= most {
		r.endBroken(lease, state)
	}
	return nil
}

func (r *Reconciler) endProgram(lease *boursev1.GPULease, outcome ray.Outcome) {
	at := outcome.At
	if at.IsZero() || at.After(r.Now()) {
		at = r.Now()
	}
	if outcome.Well {
		r.end(lease, boursev1.EndCompleted, boursev1.PartyBuyer, at, "The program ended well")
		return
	}
	r.end(lease, boursev1.EndJobFailed, boursev1.PartyBuyer, at, "The program failed: "+outcome.Message)
}

// termOver says whether the ready time has reached the term, or the lease has lasted as long as any can.
func (r *Reconciler) termOver(lease *boursev1.GPULease) (bool, error) {
	if lease.Status.Usage == nil {
		return false, nil
	}
	terms, err := contract.Meter(lease)
	if err != nil {
		return false, err
	}
	last, err := contract.Usage(lease.Status.Usage)
	if err != nil {
		return false, err
	}
	ends, counting := terms.TermEnds(last)
	reached := counting && kube.IsTrue(lease, boursev1.LeaseRunning) && !r.Now().Before(ends)
	return reached || !r.Now().Before(latestEnd(lease)), nil
}

// endLate ends a lease whose workers were not ready for too long.
func (r *Reconciler) endLate(lease *boursev1.GPULease, state ray.State, obstacle string) {
	if lease.Status.Usage == nil {
		if !r.Now().Before(lease.CreationTimestamp.Add(startAllowance)) {
			r.end(lease, boursev1.EndStartTimeout, boursev1.PartySupplier, r.Now(), because("The workers did not become ready in time", obstacle))
		}
		return
	}
	running := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning)
	if running != nil && running.Status != metav1.ConditionTrue && !r.Now().Before(running.LastTransitionTime.Add(lostAllowance)) {
		r.endFault(lease, state)
	}
}

// endFault ends a lease with a worker that was away for too long. A pod that somebody deleted, and that none replaced, was taken away.
func (r *Reconciler) endFault(lease *boursev1.GPULease, state ray.State) {
	switch notice := lease.Status.Notice; {
	case notice != nil && notice.Cause == boursev1.NoticeDeleted:
		r.endTaken(lease, r.Now())
	case state.Failing:
		r.end(lease, boursev1.EndFault, boursev1.PartySupplier, r.Now(), "A worker was not ready for too long: its node failed, or put it out")
	default:
		r.end(lease, boursev1.EndFault, boursev1.PartySupplier, r.Now(), "A worker was not ready for too long")
	}
}

// end writes down that the lease has ended, and why. The first end holds.
func (r *Reconciler) end(lease *boursev1.GPULease, reason string, party boursev1.Party, at time.Time, message string) {
	if lease.Status.End != nil {
		return
	}
	lease.Status.End = &boursev1.LeaseEnd{
		Reason: reason, Party: party, At: metav1.NewTime(at.Truncate(time.Second)), Message: clip(message, maxEndMessage),
	}
	if meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning) != nil {
		kube.Failed(lease, boursev1.LeaseRunning, boursev1.ReasonEnded, "The lease has ended")
	}
	kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonSettling, lease.Status.End.Message+"; the lease is being settled")
}

// clear removes what the lease runs and whatever holds its place. By now the last usage record is written. What a program ended in stays for
// a moment, for those who follow its output.
func (r *Reconciler) clear(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	object, launched, err := r.running(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if left := lease.Status.End.At.Add(lastWords).Sub(r.Now()); left > 0 && concluded(lease, object) {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	var doomed []client.Object
	if launched && object.GetDeletionTimestamp().IsZero() {
		doomed = append(doomed, object)
	}
	for i := range state.Holders {
		doomed = append(doomed, &state.Holders[i])
	}
	if err := r.remove(ctx, doomed...); err != nil {
		return reconcile.Result{}, err
	}
	if state.Pods > 0 && !r.Now().Before(lease.Status.End.At.Add(clearWithin+grace(lease))) {
		if _, err := r.raze(ctx, lease); err != nil { // KubeRay is away, and its finalizer keeps what owns the pods
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, r.hurry(ctx, lease, state)
}

// remove deletes what is still there of the objects.
func (r *Reconciler) remove(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := r.Local.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %T: %w", object, err)
		}
	}
	return nil
}

// concluded says whether the lease ended because its program did. Whoever takes the GPUs back has waited for them already.
func concluded(lease *boursev1.GPULease, object client.Object) bool {
	_, ended := ray.OutcomeOf(object)
	return ended && lease.Status.End.Party == boursev1.PartyBuyer
}

// grace is how long the lease's pods may take to end.
func grace(lease *boursev1.GPULease) time.Duration {
	return time.Duration(lease.Spec.Terms.NoticeSeconds) * time.Second
}

// refund closes the escrow once everything owed is claimed, or the buyer has had its time to promise it.
func (r *Reconciler) refund(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if kube.IsTrue(lease, boursev1.LeaseSettled) {
		return reconcile.Result{}, nil
	}
	if onItsWay(lease) {
		return reconcile.Result{RequeueAfter: pollChain}, nil
	}
	if wait := r.owed(lease); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	found, err := r.Ledger.Look(ctx, lease)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("look at escrow: %w", err)
	}
	switch found.State {
	case EscrowClosed:
		return reconcile.Result{}, closed(lease, found)
	case EscrowAbsent:
		return r.nothingOwed(ctx, lease)
	case EscrowRefused:
		if !kube.IsTrue(lease, boursev1.LeaseFunded) {
			kube.True(lease, boursev1.LeaseSettled, boursev1.ReasonNothingOwed, "What is on chain is not this lease's escrow")
			return reconcile.Result{}, nil
		}
	case EscrowOpen:
		if result, waits, err := r.arbitrate(ctx, lease, found); waits || err != nil {
			return result, err
		}
	}
	return r.close(ctx, lease)
}

// close signs the refund and writes it down; a later pass sends it.
func (r *Reconciler) close(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	tx, err := r.Ledger.Close(ctx, lease, attempt(lease, boursev1.TransactionClose))
	if err != nil {
		return r.unlessRefused(lease, kube.Waiting, fmt.Errorf("sign close: %w", err))
	}
	crashpoint.Hit("close.signed")
	lease.Status.Transaction = tx
	kube.Waiting(lease, boursev1.LeaseSettled, boursev1.ReasonRefunding, "The rest of the deposit goes back to the buyer")
	return reconcile.Result{}, nil
}

// nothingOwed settles a lease without an escrow, unless a deposit is on its way: that one is refunded when it has landed. The buyer's
// node may show it before ours does.
func (r *Reconciler) nothingOwed(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if kube.IsTrue(lease, boursev1.LeaseFunded) && !r.late(lease) { // an escrow that was there leaves its tombstone: the node lags
		kube.Waiting(lease, boursev1.LeaseSettled, boursev1.ReasonRefunding, "The chain's node does not show the escrow now, which was there")
		return reconcile.Result{RequeueAfter: pollDeposit}, nil
	}
	var voucher boursev1.Voucher
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}, &voucher)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("get voucher: %w", err)
	}
	deposit := voucher.Spec.Deposit
	wait := time.Duration(0)
	switch {
	case deposit != nil && deposit.State != boursev1.TransactionFailed:
		wait = leastWait
	case kube.IsTrue(lease, boursev1.LeaseAccepted): // the buyer may be signing a deposit, not knowing yet that the lease has ended
		wait = signingWait
	}
	if r.Now().Before(lease.Status.End.At.Add(wait)) {
		return reconcile.Result{RequeueAfter: pollDeposit}, nil
	}
	kube.True(lease, boursev1.LeaseSettled, boursev1.ReasonNothingOwed, "No deposit was made")
	return reconcile.Result{}, nil
}

// closed takes in that the escrow is closed, by whomever, with what it paid.
func closed(lease *boursev1.GPULease, found Escrow) error {
	if err := paid(lease, found); err != nil {
		return err
	}
	terms, err := contract.Escrow(lease)
	if err != nil {
		return err
	}
	token, err := contract.Token(&lease.Spec.Payment)
	if err != nil {
		return err
	}
	split, err := terms.Fees.Split(amount(lease.Status.Paid))
	if err != nil {
		return fmt.Errorf("split payment: %w", err)
	}
	rest, err := terms.Deposit.Sub(split.Debit)
	if err != nil {
		return fmt.Errorf("subtract payment: %w", err)
	}
	kube.True(lease, boursev1.LeaseSettled, boursev1.ReasonClosed,
		fmt.Sprintf("The supplier earned %s, and %s went back to the buyer", token.Format(split.Supplier), token.Format(rest)))
	return nil
}

// paid takes in what the chain says was paid. It only grows.
func paid(lease *boursev1.GPULease, found Escrow) error {
	units, err := contract.Signed(found.Paid)
	if err != nil {
		return err
	}
	if units > number(lease.Status.Paid) {
		lease.Status.Paid = &units
	}
	return nil
}

// owed is how long the escrow must stay open for what is not yet claimed; zero when it may close now. A promise that can be claimed
// never comes here before it is; one that was not made, or was taken back, is waited for within bounds.
func (r *Reconciler) owed(lease *boursev1.GPULease) time.Duration {
	usage := lease.Status.Usage
	if usage == nil || amount(lease.Status.Paid) >= amount(usage.Gross) {
		return 0
	}
	const periods = 2
	until := lease.Status.End.At.Add(max(leastWait, periods*time.Duration(lease.Spec.Terms.PeriodSeconds)*time.Second))
	if last := lease.Spec.Escrow.Deadline.Add(-disputeMargin); arbitrated(lease) && last.After(until) {
		until = last // a buyer that comes back may promise what would otherwise be disputed
	}
	if bound := lease.Spec.Escrow.Deadline.Add(-deadlineMargin); bound.Before(until) {
		until = bound
	}
	return until.Sub(r.Now())
}

// finish removes the namespace once it is empty and the money is settled or given up, and says how the lease ended.
func (r *Reconciler) finish(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	givenUp := kube.IsFalse(lease, boursev1.LeaseSettled) && r.late(lease)
	if !kube.IsTrue(lease, boursev1.LeaseSettled) && !givenUp {
		return reconcile.Result{}, nil
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if state.Pods > 0 && !r.late(lease) {
		return reconcile.Result{RequeueAfter: pollGone}, nil
	}
	if _, err := r.raze(ctx, lease); err != nil {
		return reconcile.Result{}, err
	}
	if end := lease.Status.End; endedWell(lease) {
		kube.True(lease, boursev1.Succeeded, end.Reason, end.Message)
	} else {
		kube.Failed(lease, boursev1.Succeeded, end.Reason, end.Message)
	}
	return reconcile.Result{}, nil
}

// endedWell says whether the buyer got what it asked for. Deleting the job is how an interactive cluster is ended early.
func endedWell(lease *boursev1.GPULease) bool {
	switch lease.Status.End.Reason {
	case boursev1.EndCompleted, boursev1.EndTermReached:
		return true
	case boursev1.EndJobDeleted:
		return lease.Spec.Ends == boursev1.EndsWithTerm && lease.Status.Usage != nil && number(lease.Status.Usage.GPUMilliseconds) > 0
	default:
		return false
	}
}

// raze deletes the lease's namespace and says whether it is gone.
func (r *Reconciler) raze(ctx context.Context, lease *boursev1.GPULease) (bool, error) {
	var namespace corev1.Namespace
	err := r.Local.Get(ctx, client.ObjectKey{Name: space(lease)}, &namespace)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get namespace: %w", err)
	}
	if !namespace.DeletionTimestamp.IsZero() {
		return false, nil
	}
	if err := r.Local.Delete(ctx, &namespace); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete namespace: %w", err)
	}
	return false, nil
}

// forget lets go of a lease that is over, once nothing of it is left.
func (r *Reconciler) forget(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(lease, Finalizer) {
		return reconcile.Result{}, nil
	}
	gone, err := r.raze(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !gone && !r.late(lease) {
		return reconcile.Result{RequeueAfter: pollGone}, nil
	}
	return reconcile.Result{}, kube.Free(ctx, r.Hub, lease, Finalizer)
}

// late says whether so much time has passed since the escrow's deadline that nothing is waited for any more.
func (r *Reconciler) late(lease *boursev1.GPULease) bool {
	return !r.Now().Before(lease.Spec.Escrow.Deadline.Add(finalizerBound + arbitration(lease)))
}

// givenUp is when a lease is late whatever is disputed: what is known of it before anything happened.
func givenUp(lease *boursev1.GPULease) time.Time {
	at := lease.Spec.Escrow.Deadline.Add(finalizerBound)
	if arbitrated(lease) {
		at = at.Add(arbitrationBound(lease))
	}
	return at
}

// clip cuts a text to a number of bytes, at a character.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && text[most]&0xC0 == 0x80 {
		most--
	}
	return text[:most]
}
