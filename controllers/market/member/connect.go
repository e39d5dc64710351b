// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// lookEvery is how often it is looked which members' managers show that they are there. A sign by itself wakes nobody.
const lookEvery = 15 * time.Second

// connect says whether the member's managers were seen. Nothing follows from it but that one who is seen stays: not to see is not to know.
func (r *Reconciler) connect(_ context.Context, member *boursev1.Member) (reconcile.Result, error) {
	found, missing := r.seen.of(member.Namespace)
	switch found {
	case seenAll:
		kube.True(member, boursev1.MemberConnected, boursev1.ReasonSeen, "The member's managers say that they are there")
	case seenNotAll:
		kube.Waiting(member, boursev1.MemberConnected, boursev1.ReasonNotSeen, "Not seen for a while: the manager of the role "+missing)
	case seenNone:
		if meta.FindStatusCondition(member.Status.Conditions, boursev1.MemberConnected) != nil {
			kube.Waiting(member, boursev1.MemberConnected, boursev1.ReasonNotSeen, "No manager of the member says any more that it is there")
		}
	case seenUndecided:
	}
	return reconcile.Result{}, nil
}

// census looks at the members' signs every so often, and brings back the members whose managers came or went.
type census struct {
	hub   client.Reader
	seen  *sights
	woken chan<- event.GenericEvent
	now   func() time.Time
}

// Start looks until the context ends.
func (c *census) Start(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Could not look which members are there")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (c *census) look(ctx context.Context) error {
	var leases coordinationv1.LeaseList
	if err := c.hub.List(ctx, &leases, client.HasLabels{boursev1.LabelPresence}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list presences: %w", err)
	}
	for _, namespace := range c.seen.look(leases.Items, c.now()) {
		member := &boursev1.Member{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: boursev1.MemberName}}
		select {
		case <-ctx.Done():
			return nil
		case c.woken <- event.GenericEvent{Object: member}:
		}
	}
	return nil
}
