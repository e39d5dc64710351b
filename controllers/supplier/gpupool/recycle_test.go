// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// A pool that is recycled offers nothing until its mock rentals have passed, and then sells on without cooling down.
func TestAPoolThatIsRecycledSellsAfterwards(t *testing.T) {
	b := newBench(t)
	b.cooled()
	b.change(func(p *boursev1.GPUPool) { p.Annotations = map[string]string{boursev1.AnnotationRecycle: "1"} })
	of, _ := b.rest("pool")
	b.wantFree(map[string]int32{"h100-sxm-80gb": 0, "l4": 0})
	wantCondition(t, of, boursev1.Ready, metav1.ConditionUnknown, boursev1.ReasonRecycling)
	if len(of.Status.HeldBack) != 1 || of.Status.HeldBack[0].Reason != boursev1.HoldRecycling {
		t.Errorf("held back: %+v", of.Status.HeldBack)
	}
	b.change(func(p *boursev1.GPUPool) { p.Annotations[boursev1.AnnotationRecycled] = "1" })
	of, _ = b.rest("pool")
	wantCondition(t, of, boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonSelling)
}
