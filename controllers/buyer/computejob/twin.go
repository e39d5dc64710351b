// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// errTaken says that another job has the twin's name.
var errTaken = errors.New("the name is taken in the hub")

// origin is the job that a twin stands for.
type origin struct {
	job types.NamespacedName
	uid types.UID
}

// originOf returns what an object says of its original; false unless that is a job of this cluster.
func (r *Reconciler) originOf(object client.Object) (origin, bool) {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	from := origin{
		job: types.NamespacedName{
			Namespace: annotations[boursev1.AnnotationOriginNamespace], Name: annotations[boursev1.AnnotationOriginName],
		},
		uid: types.UID(labels[boursev1.LabelOriginUID]),
	}
	mine := r.cluster != "" && labels[boursev1.LabelOriginCluster] == string(r.cluster)
	return from, mine && from.job.Namespace != "" && from.job.Name != "" && from.uid != ""
}

// key is where in the hub the job's twin is. It follows from this cluster and this very job, so that a job that is made anew under an old
// name has another twin, and so have jobs of two clusters.
func (r *Reconciler) key(job *boursev1.ComputeJob) client.ObjectKey {
	const most, digest = 52, 5
	stem := strings.ReplaceAll(job.Namespace+"-"+job.Name, ".", "-")
	stem = strings.TrimRight(stem[:min(len(stem), most)], "-")
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%s/%s", r.cluster, job.Namespace, job.Name, job.UID))
	return client.ObjectKey{Namespace: r.Namespace, Name: stem + "-" + hex.EncodeToString(sum[:digest])}
}

// draft is the job's twin as it is to be made.
func (r *Reconciler) draft(job *boursev1.ComputeJob) *boursev1.ComputeJob {
	key := r.key(job)
	return &boursev1.ComputeJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name,
			Labels: map[string]string{boursev1.LabelOriginCluster: string(r.cluster), boursev1.LabelOriginUID: string(job.UID)},
			Annotations: map[string]string{
				boursev1.AnnotationOriginNamespace: job.Namespace, boursev1.AnnotationOriginName: job.Name,
				boursev1.AnnotationOriginGeneration: strconv.FormatInt(job.Generation, 10),
			},
		},
		Spec: *job.Spec.DeepCopy(),
	}
}

// find returns the job's twin, from the hub itself when the cache does not have it; nil says that there is none. It returns errTaken when
// the hub has another job of that name.
func (r *Reconciler) find(ctx context.Context, job *boursev1.ComputeJob) (*boursev1.ComputeJob, error) {
	var twin boursev1.ComputeJob
	err := r.Hub.Get(ctx, r.key(job), &twin)
	if apierrors.IsNotFound(err) {
		err = r.HubLive.Get(ctx, r.key(job), &twin)
	}
	if gone(err) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("get job of hub: %w", err)
	}
	if from, ok := r.originOf(&twin); !ok || from.uid != job.UID {
		return nil, errTaken
	}
	return &twin, nil
}

// gone says whether an API server answered that it has no such object. One that does not serve the kind now has not answered.
func gone(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// refusal returns what an API server answered to a request that it does not grant, and why; false for errors that do not say so.
func refusal(err error) (reason, message string, refused bool) {
	const most = 512
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return "", "", false
	}
	text := strings.TrimRight(status.ErrStatus.Message, ". \n")
	text = strings.ToValidUTF8(text[:min(len(text), most)], "")
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return boursev1.ReasonHubRefused, "The hub does not take the job: " + text, true
	case apierrors.IsForbidden(err):
		return boursev1.ReasonHubForbidden, "The hub does not let the member act: " + text, true
	default:
		return "", "", false
	}
}
