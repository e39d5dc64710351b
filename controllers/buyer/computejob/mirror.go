// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"errors"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// strict lets the hub refuse a field that it does not know, where it would leave it out otherwise.
const strict = client.FieldValidation(metav1.FieldValidationStrict)

// look finds the job's twin.
func (p *pass) look(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	twin, err := p.find(ctx, job)
	if errors.Is(err, errTaken) {
		key := p.key(job)
		return p.cannot(job, boursev1.ReasonNameTaken, fmt.Sprintf(
			"The hub's namespace %s has a job %s that is not this one's: delete it there", key.Namespace, key.Name)), nil
	}
	if err != nil {
		return p.unheard(job, err)
	}
	p.twin = twin
	return reconcile.Result{}, nil
}

// mirror makes the job's twin, and keeps its spec the job's.
func (p *pass) mirror(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	switch {
	case p.twin == nil && listing.Ended(job): // nothing can become of a twin
		return reconcile.Result{}, nil
	case p.twin == nil:
		return p.renew(ctx, job)
	case !p.twin.DeletionTimestamp.IsZero():
		kube.Waiting(job, boursev1.JobMirrored, boursev1.ReasonDeletedInHub, fmt.Sprintf(
			"The hub's job %s of namespace %s is being deleted there; it is made again if it has no lease", p.twin.Name, p.twin.Namespace))
		return reconcile.Result{}, nil
	default:
		return p.update(ctx, job)
	}
}

// renew makes the job's twin, unless one had a lease already: that one may have been paid for, and a job is not run twice.
func (p *pass) renew(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	leased, err := p.leased(ctx, job)
	if err != nil {
		return p.unheard(job, err)
	}
	if leased {
		const message = "The hub's job is gone although it had a lease, and is not run twice: see the member's vouchers in the hub for what was paid"
		kube.Failed(job, boursev1.JobMirrored, boursev1.ReasonLostInHub, message)
		kube.Failed(job, boursev1.Succeeded, boursev1.ReasonLostInHub, message)
		return reconcile.Result{}, nil
	}
	reason, message, err := p.forbidden(ctx)
	switch {
	case err != nil:
		return p.unheard(job, err)
	case reason != "":
		return p.cannot(job, reason, message), nil
	}
	return p.make(ctx, job)
}

// leased says whether a twin of the job ever had a lease that its supplier did not refuse.
func (p *pass) leased(ctx context.Context, job *boursev1.ComputeJob) (bool, error) {
	if job.Status.Lease != nil {
		return true, nil
	}
	key := p.key(job)
	var leases boursev1.GPULeaseList
	labels := client.MatchingLabels{boursev1.LabelJobName: key.Name, boursev1.LabelJobNamespace: key.Namespace}
	if err := p.HubLive.List(ctx, &leases, labels); err != nil {
		return false, fmt.Errorf("list leases of job: %w", err)
	}
	for i := range leases.Items {
		if !listing.Refused(&leases.Items[i]) {
			return true, nil
		}
	}
	return false, nil
}

// forbidden says why the member cannot buy in the hub; an empty reason says that it can.
func (p *pass) forbidden(ctx context.Context) (reason, message string, err error) {
	var member, same boursev1.Member
	key := client.ObjectKey{Namespace: p.Namespace, Name: boursev1.MemberName}
	err = p.Hub.Get(ctx, key, &member)
	switch ready := meta.FindStatusCondition(member.Status.Conditions, boursev1.Ready); {
	case apierrors.IsNotFound(err):
		return boursev1.ReasonNoMember, fmt.Sprintf(
			"The hub's namespace %s has no Member: name the namespace of yours in --member-namespace", p.Namespace), nil
	case err != nil:
		return "", "", fmt.Errorf("get member: %w", err)
	case member.Spec.Wallet != p.Wallet:
		return boursev1.ReasonWalletDiffers, fmt.Sprintf(
			"The hub's namespace %s is that of the wallet %s, and this cluster's manager pays with %s: give it that wallet, or another --member-namespace",
			p.Namespace, member.Spec.Wallet, p.Wallet), nil
	case ready != nil && ready.Status == metav1.ConditionFalse:
		return boursev1.ReasonMemberNotReady, "The hub does not admit the member: " + ready.Message, nil
	}
	// A job that both API servers had, being one, would be matched twice.
	err = p.LocalLive.Get(ctx, key, &same)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return "", "", nil
	case err != nil:
		return "", "", fmt.Errorf("look for the hub's member in this cluster: %w", err)
	case same.UID == member.UID:
		return boursev1.ReasonSameCluster, "The hub is this cluster: leave --hub-kubeconfig and --hub-join out, and apply jobs in the member's namespace", nil
	}
	return "", "", nil
}

// make creates the job's twin.
func (p *pass) make(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	wanted, err := p.wanted(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !wanted {
		return reconcile.Result{RequeueAfter: behind}, nil
	}
	twin := p.draft(job)
	err = p.Hub.Create(ctx, twin, strict)
	if apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: behind}, nil
	}
	if reason, message, refused := refusal(err); refused {
		return p.cannot(job, reason, message), nil
	}
	if err != nil {
		return p.unheard(job, fmt.Errorf("create job in hub: %w", err))
	}
	inHub(job, twin)
	kube.Waiting(job, boursev1.Succeeded, boursev1.ReasonAwaitingMarket, awaitingMarket)
	return reconcile.Result{}, nil
}

// wanted asks the API server whether the job is still there, and not deleted.
func (p *pass) wanted(ctx context.Context, job *boursev1.ComputeJob) (bool, error) {
	var now boursev1.ComputeJob
	err := p.LocalLive.Get(ctx, client.ObjectKeyFromObject(job), &now)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read job again: %w", err)
	}
	return err == nil && now.UID == job.UID && now.DeletionTimestamp.IsZero(), nil
}

// update gives the twin the job's spec.
func (p *pass) update(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	next := p.twin.DeepCopy()
	draft := p.draft(job)
	next.Spec = draft.Spec
	next.Annotations[boursev1.AnnotationOriginGeneration] = draft.Annotations[boursev1.AnnotationOriginGeneration]
	equal := apiequality.Semantic.DeepEqual(p.twin.Spec, next.Spec)
	switch {
	case equal && p.twin.Annotations[boursev1.AnnotationOriginGeneration] == next.Annotations[boursev1.AnnotationOriginGeneration]:
		inHub(job, p.twin)
		return reconcile.Result{}, nil
	case !equal && p.twin.Status.Lease != nil:
		kube.Failed(job, boursev1.JobMirrored, boursev1.ReasonEditTooLate,
			"The job got its lease before its last edit reached the hub, and runs as it was before: delete it and make another to change it")
		return reconcile.Result{}, nil
	}
	err := p.Hub.Patch(ctx, next, client.MergeFromWithOptions(p.twin, client.MergeFromWithOptimisticLock{}), strict)
	if gone(err) {
		return reconcile.Result{RequeueAfter: behind}, nil
	}
	if reason, message, refused := refusal(err); refused {
		return p.cannot(job, reason, message), nil
	}
	if err != nil {
		return p.unheard(job, fmt.Errorf("patch job of hub: %w", err))
	}
	inHub(job, next)
	return reconcile.Result{}, nil
}

func inHub(job, twin *boursev1.ComputeJob) {
	kube.True(job, boursev1.JobMirrored, boursev1.ReasonInHub, fmt.Sprintf("The hub has the job as %s in namespace %s", twin.Name, twin.Namespace))
}

// cannot says that the hub does not have the job as it is here until someone acts. What has ended needs no hub.
func (p *pass) cannot(job *boursev1.ComputeJob, reason, message string) reconcile.Result {
	if listing.Ended(job) {
		return reconcile.Result{}
	}
	kube.Failed(job, boursev1.JobMirrored, reason, message)
	if p.twin == nil {
		kube.Waiting(job, boursev1.Succeeded, reason, message)
	}
	return reconcile.Result{RequeueAfter: askAgain}
}

// unheard returns the error of a hub that could not be asked, after it told a job which the hub does not have as it is now. What the hub has
// stays as it is.
func (p *pass) unheard(job *boursev1.ComputeJob, err error) (reconcile.Result, error) {
	mirrored := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMirrored)
	if apierrors.IsConflict(err) || listing.Ended(job) || mirrored != nil && mirrored.Status == metav1.ConditionTrue && mirrored.ObservedGeneration == job.Generation {
		return reconcile.Result{}, err
	}
	if reason, message, refused := refusal(err); refused {
		return p.cannot(job, reason, message), nil
	}
	reason, message := silent(err)
	message += "; the job goes there as soon as it can"
	kube.Waiting(job, boursev1.JobMirrored, reason, message)
	if p.twin == nil {
		kube.Waiting(job, boursev1.Succeeded, reason, message)
	}
	return reconcile.Result{}, err
}

// silent says why the hub could not be asked, as far as that is worth telling apart.
func silent(err error) (reason, message string) {
	if apierrors.IsUnauthorized(err) {
		return boursev1.ReasonHubUnauthorized, "The hub does not take the manager's token: see its log, and whether the member is suspended"
	}
	return boursev1.ReasonHubUnreachable, "The hub cannot be asked now"
}
