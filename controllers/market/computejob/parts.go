// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// fate is what became of one part of a job so far.
type fate struct {
	at      int                 // its place among the parts
	lease   *boursev1.GPULease  // nil when it is gone
	voucher *boursev1.Voucher   // empty while the buyer says nothing
	silent  bool                // its supplier was not heard of for so long that the lease cannot be anything but over
	told    boursev1.ComputeJob // what a job would be told that has this lease alone
}

// followParts tells a job that was split what becomes of its parts. A job of which a part was not accepted is matched again; when a part has
// ended badly, the others are ended.
func (r *Reconciler) followParts(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	fates, err := r.fates(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	leases := leasesOf(fates)
	if at := slices.IndexFunc(leases, listing.Refused); at >= 0 {
		return r.giveUp(ctx, job, refusalMessage(leases[at]))
	}
	if culprit(fates) != nil {
		if done, err := r.endParts(ctx, job); !done || err != nil {
			return reconcile.Result{RequeueAfter: journalled}, err
		}
	}
	if err := mirrorParts(job, fates); err != nil {
		return reconcile.Result{}, err
	}
	return r.awaitParts(ctx, fates)
}

// awaitParts says when to look at the parts again.
func (r *Reconciler) awaitParts(ctx context.Context, fates []fate) (reconcile.Result, error) {
	var next time.Duration
	for i := range fates {
		wait, err := r.await(ctx, &fates[i])
		if err != nil {
			return reconcile.Result{}, err
		}
		if wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return reconcile.Result{RequeueAfter: next}, nil
}

// await ends a part that its supplier says nothing about before it is accepted, and says when to look at it again.
func (r *Reconciler) await(ctx context.Context, of *fate) (time.Duration, error) {
	if of.over() {
		return 0, nil
	}
	result, err := r.expire(ctx, of.lease)
	if err != nil || !result.IsZero() {
		return result.RequeueAfter, err
	}
	return r.patience(ctx, of.lease)
}

// fates reads what became of the job's parts.
func (r *Reconciler) fates(ctx context.Context, job *boursev1.ComputeJob) ([]fate, error) {
	var fates []fate
	for i, part := range listing.Parts(job) {
		one := fate{at: i}
		lease, err := r.lease(ctx, &part.Lease)
		if err != nil {
			return nil, err
		}
		if lease != nil && lease.Spec.Job.UID == string(job.UID) {
			left, err := r.patience(ctx, lease)
			if err != nil {
				return nil, err
			}
			one.lease, one.silent = lease, !isOver(lease) && left <= 0
			if one.voucher, err = r.voucher(ctx, job, lease); err != nil {
				return nil, err
			}
		}
		fates = append(fates, one)
	}
	return fates, nil
}

// leasesOf are the leases that are there.
func leasesOf(fates []fate) []*boursev1.GPULease {
	var leases []*boursev1.GPULease
	for i := range fates {
		if fates[i].lease != nil {
			leases = append(leases, fates[i].lease)
		}
	}
	return leases
}

// over says whether nothing can become of the part any more.
func (f *fate) over() bool { return f.lease == nil || f.silent || isOver(f.lease) }

// bad says whether the part has ended in a way that leaves the others without use. How a lease ended that its buyer did away with is known
// when it is over.
func (f *fate) bad() bool {
	if f.over() {
		return f.lease == nil || !kube.IsTrue(f.lease, boursev1.Succeeded)
	}
	if f.lease.Status.End == nil {
		return false
	}
	switch f.lease.Status.End.Reason {
	case boursev1.EndCompleted, boursev1.EndTermReached, boursev1.EndJobDeleted:
		return false
	default:
		return true
	}
}

// culprit is the part because of which the job cannot go on: the first that ended badly, and not for another's sake; nil when there is none.
func culprit(fates []fate) *fate {
	var found *fate
	for i := range fates {
		if one := &fates[i]; one.bad() && (found == nil || one.rank() < found.rank() || one.rank() == found.rank() && one.endedBefore(found)) {
			found = one
		}
	}
	return found
}

// rank orders why parts ended: by themselves, in a way that nobody told, for another's sake.
func (f *fate) rank() int {
	switch {
	case f.lease == nil || f.lease.Status.End == nil:
		return 1
	case f.lease.Status.End.Reason == boursev1.EndPartEnded:
		return 2
	default:
		return 0
	}
}

func (f *fate) endedBefore(other *fate) bool {
	return f.rank() != 1 && f.lease.Status.End.At.Before(&other.lease.Status.End.At)
}

// tell writes down what a job would be told that has this part alone.
func (f *fate) tell(job *boursev1.ComputeJob) error {
	f.told.Generation = job.Generation
	if funded := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobFunded); funded != nil && funded.Status == metav1.ConditionTrue {
		meta.SetStatusCondition(&f.told.Status.Conditions, *funded)
	}
	if f.lease != nil {
		if err := mirror(&f.told, f.lease, f.voucher); err != nil {
			return err
		}
	}
	switch {
	case f.lease == nil:
		kube.Failed(&f.told, boursev1.JobRunning, boursev1.ReasonEnded, "The lease is gone")
		kube.Failed(&f.told, boursev1.Succeeded, boursev1.EndFault, leaseDeleted)
	case f.silent:
		tellSilence(&f.told, f.lease)
	}
	return nil
}

// going says whether the part's workers are there or are awaited.
func (f *fate) going() bool { return !f.over() && f.lease.Status.End == nil }

// mirrorParts tells the job what its parts' conditions say together: of each, what the part says that is furthest from it.
func mirrorParts(job *boursev1.ComputeJob, fates []fate) error {
	for i := range fates {
		if err := fates[i].tell(job); err != nil {
			return err
		}
	}
	leases := leasesOf(fates)
	if err := mirrorUsage(job, leases...); err != nil {
		return err
	}
	job.Status.Notice = nil
	for _, lease := range leases {
		if notice := lease.Status.Notice; notice != nil && (job.Status.Notice == nil || notice.Until.Before(&job.Status.Notice.Until)) {
			job.Status.Notice = notice.DeepCopy()
		}
	}
	if funded := verdicts(fates, boursev1.JobFunded, every); len(funded) == len(fates) {
		pass(job, funded)
	}
	lost := culprit(fates)
	runningOfParts(job, fates, lost)
	succeededOfParts(job, fates, lost)
	return nil
}

// runningOfParts says whether the workers of all parts that go on are ready.
func runningOfParts(job *boursev1.ComputeJob, fates []fate, lost *fate) {
	all := verdicts(fates, boursev1.JobRunning, every)
	on := verdicts(fates, boursev1.JobRunning, (*fate).going)
	going := 0
	for i := range fates {
		if fates[i].going() {
			going++
		}
	}
	switch {
	case len(all) == 0: // no part has begun
	case lost != nil:
		kube.Failed(job, boursev1.JobRunning, boursev1.ReasonEnded, "A part of the job has ended, and the others end with it")
	case going == 0:
		pass(job, all)
	case len(on) < going:
		kube.Waiting(job, boursev1.JobRunning, boursev1.ReasonStarting, "The Ray workers are being started")
	default:
		pass(job, on)
	}
}

// succeededOfParts says what the job as a whole waits for, or how it ended.
func succeededOfParts(job *boursev1.ComputeJob, fates []fate, lost *fate) {
	all := verdicts(fates, boursev1.Succeeded, every)
	waits := verdicts(fates, boursev1.Succeeded, func(f *fate) bool { return !f.over() })
	switch {
	case lost == nil && len(waits) == 0:
		pass(job, all)
	case lost == nil:
		pass(job, waits)
	case len(waits) == 0:
		end := meta.FindStatusCondition(lost.told.Status.Conditions, boursev1.Succeeded)
		kube.Failed(job, boursev1.Succeeded, end.Reason, numbered(lost.at, len(fates), end.Message))
	case lost.lease == nil:
		waiting(job, boursev1.ReasonSettling, numbered(lost.at, len(fates), leaseDeleted+"; the other parts are being ended"))
	default:
		waiting(job, boursev1.ReasonSettling, numbered(lost.at, len(fates), settlingMessage(lost.lease.Status.End)))
	}
}

// verdict is one condition as a part says it.
type verdict struct {
	at, of    int
	condition metav1.Condition
}

func every(*fate) bool { return true }

// verdicts are what those parts say of a condition that say anything of it.
func verdicts(fates []fate, kind string, which func(*fate) bool) []verdict {
	var found []verdict
	for i := range fates {
		one := &fates[i]
		if said := meta.FindStatusCondition(one.told.Status.Conditions, kind); said != nil && which(one) {
			found = append(found, verdict{at: one.at, of: len(fates), condition: *said})
		}
	}
	return found
}

// pass tells the job what the parts say that is furthest from the condition; of several, the first. Where they do not all say the same, the
// message names the part.
func pass(job *boursev1.ComputeJob, said []verdict) {
	worst := said[0]
	differ := false
	for _, one := range said[1:] {
		differ = differ || one.condition.Status != worst.condition.Status || one.condition.Reason != worst.condition.Reason
		if far(&one.condition) > far(&worst.condition) {
			worst = one
		}
	}
	message := worst.condition.Message
	if differ {
		message = numbered(worst.at, worst.of, message)
	}
	switch worst.condition.Status {
	case metav1.ConditionTrue:
		kube.True(job, worst.condition.Type, worst.condition.Reason, message)
	case metav1.ConditionFalse:
		kube.Failed(job, worst.condition.Type, worst.condition.Reason, message)
	default:
		kube.Waiting(job, worst.condition.Type, worst.condition.Reason, message)
	}
}

// far orders how far a condition is from being True: what needs somebody's care first, then the steps of a job in their order.
func far(condition *metav1.Condition) int {
	steps := []string{
		boursev1.ReasonDeposited, boursev1.ReasonWorkersReady, boursev1.ReasonSettling, boursev1.ReasonRunning, boursev1.ReasonNodeSilent,
		boursev1.ReasonWorkersNotReady, boursev1.ReasonStarting, boursev1.ReasonAwaitingDeposit, boursev1.ReasonAwaitingSupplier,
		boursev1.ReasonTakingBack,
	}
	distance := slices.Index(steps, condition.Reason)
	if distance < 0 {
		distance = len(steps)
	}
	switch condition.Status {
	case metav1.ConditionFalse:
		distance += 2 * (len(steps) + 1)
	case metav1.ConditionUnknown:
		distance += len(steps) + 1
	case metav1.ConditionTrue:
	}
	return distance
}

// numbered says of which part a message is.
func numbered(at, of int, message string) string {
	return fmt.Sprintf("Part %d of %d: %s", at+1, of, message)
}
