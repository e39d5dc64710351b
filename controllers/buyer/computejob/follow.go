// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

const awaitingMarket = "The hub has the job, and the market has not looked at it yet"

// follow tells the job what the hub says of its twin: all of it, but for whether it is mirrored.
func (p *pass) follow(_ context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if p.twin == nil {
		return reconcile.Result{}, nil
	}
	before := job.Status.Conditions
	job.Status = *p.twin.Status.DeepCopy()
	job.Status.Conditions = nil
	keep(job, before, boursev1.JobMirrored)
	job.Status.Conditions = append(job.Status.Conditions, translate(p.twin, before)...)
	if meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded) == nil {
		keep(job, before, boursev1.Succeeded)
		kube.Waiting(job, boursev1.Succeeded, boursev1.ReasonAwaitingMarket, awaitingMarket)
	}
	return reconcile.Result{}, nil
}

// translate returns the twin's conditions as the job's: each is about the generation of the job whose spec the twin had.
func translate(twin *boursev1.ComputeJob, before []metav1.Condition) []metav1.Condition {
	var conditions []metav1.Condition
	for _, condition := range twin.Status.Conditions {
		if condition.Type == boursev1.JobMirrored { // it is not the hub's to say
			continue
		}
		if condition.ObservedGeneration == twin.Generation {
			condition.ObservedGeneration = originGeneration(twin)
		} else {
			condition.ObservedGeneration = observed(before, condition.Type)
		}
		conditions = append(conditions, condition)
	}
	return conditions
}

// originGeneration is the generation of the job whose spec the twin has; zero if it does not say.
func originGeneration(twin *boursev1.ComputeJob) int64 {
	generation, err := strconv.ParseInt(twin.Annotations[boursev1.AnnotationOriginGeneration], 10, 64)
	if err != nil || generation < 0 { // somebody else wrote it; the next pass of mirror mends it
		return 0
	}
	return generation
}

// observed is the generation that a condition was about when it was told last.
func observed(conditions []metav1.Condition, kind string) int64 {
	if found := meta.FindStatusCondition(conditions, kind); found != nil {
		return found.ObservedGeneration
	}
	return 0
}

// keep leaves the job a condition that it had.
func keep(job *boursev1.ComputeJob, before []metav1.Condition, kind string) {
	if found := meta.FindStatusCondition(before, kind); found != nil {
		job.Status.Conditions = append(job.Status.Conditions, *found)
	}
}
