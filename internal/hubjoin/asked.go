// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"context"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// askedEvery is after how long it is written down once more that somebody asked. A member asks twice an hour.
const askedEvery = 12 * time.Hour

// asked writes down that somebody asked for access in the member's name. If the market was about to let it go because nothing was seen of
// it, it stays; what its wallet signed stands.
func (h *Hub) asked(ctx context.Context, member *boursev1.Member) error {
	if member.Spec.State == boursev1.MemberSuspended {
		return nil
	}
	before := member.DeepCopy()
	patch := client.MergeFrom(before)
	member.Spec.AskedAt = h.stamp(member.Spec.AskedAt)
	if unseen(member) {
		member.Spec.Leave = nil
		patch = client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}) // or it would take back what the wallet has signed meanwhile
	}
	if apiequality.Semantic.DeepEqual(before.Spec, member.Spec) {
		return nil
	}
	if err := h.o.Client.Patch(ctx, member, patch); err != nil {
		return fmt.Errorf("patch member: %w", err)
	}
	return nil
}

// stamp is when somebody asked, now. What was written a while ago stands, unless a wrong clock wrote it.
func (h *Hub) stamp(was *metav1.Time) *metav1.Time {
	now := metav1.NewTime(h.o.Now().Truncate(time.Second))
	if was != nil && !was.After(now.Time) && now.Sub(was.Time) < askedEvery {
		return was
	}
	return &now
}

// Joined says whether the member got its place by joining, and not from an admin.
func (h *Hub) Joined(ctx context.Context, member *boursev1.Member) (bool, error) {
	namespace, err := h.namespaceOf(ctx, member)
	if err != nil || namespace == nil {
		return false, err
	}
	return madeFor(namespace, member), nil
}

// Dismiss writes down that the market lets the member go, because it was not seen for long. If the member has changed since it was read,
// that is a conflict: it may have come back.
func (h *Hub) Dismiss(ctx context.Context, member *boursev1.Member) error {
	next := member.DeepCopy()
	next.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(h.o.Now().Truncate(time.Second)), Mode: boursev1.LeaveUnseen}
	err := h.o.Client.Patch(ctx, next, client.MergeFromWithOptions(member, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("dismiss member: %w", err)
	}
	return nil
}

// unseen says whether the market lets the member go.
func unseen(member *boursev1.Member) bool {
	return member.Spec.Leave != nil && member.Spec.Leave.Mode == boursev1.LeaveUnseen
}
