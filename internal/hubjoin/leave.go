// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
)

// Leave writes down that the wallet's member leaves, and returns what the market says of it. A suspended one may leave too. Its access stays
// until it is gone: what runs must be settled. A mode goes from Unseen to WhenSettled and to AtOnce, and never back.
func (h *Hub) Leave(ctx context.Context, claim join.Claim) (join.Departure, error) {
	member := &boursev1.Member{}
	key := client.ObjectKey{Namespace: join.Namespace(claim.Wallet), Name: boursev1.MemberName}
	err := h.o.Live.Get(ctx, key, member)
	if apierrors.IsNotFound(err) {
		if err := h.taken(ctx, claim.Wallet, key.Namespace); err != nil {
			return join.Departure{}, err
		}
		return join.Departure{}, join.Refuse(join.NotMember, "The wallet has not joined this hub, or has left it")
	}
	if err != nil {
		return join.Departure{}, fmt.Errorf("get member: %w", err)
	}
	mode, own := modeOf(claim.Mode), member.Spec.Leave != nil && !unseen(member)
	if mode != "" && (!own || mode == boursev1.LeaveAtOnce && member.Spec.Leave.Mode != mode) {
		before := member.DeepCopy()
		if !own {
			member.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(h.o.Now().Truncate(time.Second))}
		}
		member.Spec.Leave.Mode = mode
		// Without a lock: the patch says nothing but this, the API server refuses to go back from AtOnce, and the market writes the status often.
		if err := h.o.Client.Patch(ctx, member, client.MergeFrom(before)); err != nil {
			return join.Departure{}, fmt.Errorf("patch member: %w", err)
		}
	}
	return departureOf(member), nil
}

// errChanged says that a member is not what it was when it was decided to remove it: it may have joined again, or be suspended.
var errChanged = errors.New("the member has changed meanwhile")

// Remove removes a member that joined, and its namespace with all that is in it unless that is to stay. It says no, and does nothing, if an
// admin made either; and it is an error if the member has changed since it was read, which may have been from a cache.
func (h *Hub) Remove(ctx context.Context, member *boursev1.Member, stays bool) (bool, error) {
	if err := h.unchanged(ctx, member); err != nil {
		return false, err
	}
	namespace, err := h.namespaceOf(ctx, member)
	if err != nil {
		return false, err
	}
	if namespace != nil && !madeFor(namespace, member) {
		return false, nil
	}
	if err := h.Withdraw(ctx, member.Namespace); err != nil {
		return false, err
	}
	objects := []client.Object{member}
	if namespace != nil && !stays {
		objects = []client.Object{namespace, member}
	}
	for _, object := range objects {
		err := h.o.Client.Delete(ctx, object, client.Preconditions{UID: new(object.GetUID())})
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("remove %T of a member that left: %w", object, err)
		}
	}
	return true, nil
}

// namespaceOf reads a member's namespace; nil if there is none.
func (h *Hub) namespaceOf(ctx context.Context, member *boursev1.Member) (*corev1.Namespace, error) {
	namespace := &corev1.Namespace{}
	err := h.o.Live.Get(ctx, client.ObjectKey{Name: member.Namespace}, namespace)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // the comment says what that means
	}
	if err != nil {
		return nil, fmt.Errorf("get namespace: %w", err)
	}
	return namespace, nil
}

// madeFor says whether the namespace was made for the member when it joined.
func madeFor(namespace *corev1.Namespace, member *boursev1.Member) bool {
	return namespace.Labels[boursev1.LabelWallet] == string(member.Spec.Wallet)
}

// unchanged is an error unless the member is what it was, or gone.
func (h *Hub) unchanged(ctx context.Context, member *boursev1.Member) error {
	now := &boursev1.Member{}
	err := h.o.Live.Get(ctx, client.ObjectKeyFromObject(member), now)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("get member: %w", err)
	case now.UID != member.UID || !apiequality.Semantic.DeepEqual(now.Spec, member.Spec):
		return fmt.Errorf("remove member: %w", errChanged)
	default:
		return nil
	}
}

// modeOf is what a claim's mode says in a Member; nothing for one that changes nothing.
func modeOf(mode join.Mode) boursev1.LeaveMode {
	switch mode {
	case join.WhenSettled:
		return boursev1.LeaveWhenSettled
	case join.AtOnce:
		return boursev1.LeaveAtOnce
	default:
		return ""
	}
}

func departureOf(member *boursev1.Member) join.Departure {
	departure := join.Departure{Namespace: member.Namespace, Suspended: member.Spec.State == boursev1.MemberSuspended}
	if member.Spec.Leave == nil {
		return departure
	}
	departure.Since = member.Spec.Leave.Since.UTC()
	if of := member.Status.Leaving; of != nil && of.Supplied != nil && of.Bought != nil {
		departure.Known, departure.Supplied, departure.Bought = true, *of.Supplied, *of.Bought
		if of.Until != nil {
			departure.Until = of.Until.UTC()
		}
	}
	return departure
}
