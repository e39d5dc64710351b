// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

const (
	// noticeDays is how many days before a member is let go it is told.
	noticeDays = 7
	// settle is how long the market looks, after it has started, before that nothing was seen of a member says something: who is there has
	// shown itself by then, since a manager asks for another token twice an hour, and every minute when it has none.
	settle = time.Hour
)

// retain counts the days on which nothing was seen of a member that joined and has nothing in the market. It says so when few are left, and
// lets the member go after the last. Nothing is kept in memory: a day counts when it is written down.
func (r *Reconciler) retain(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	leave := member.Spec.Leave
	if leave != nil && leave.Mode == boursev1.LeaveUnseen { // what it was told stands
		return reconcile.Result{}, nil
	}
	if r.MostUnseen == 0 || r.Access == nil || member.Spec.State == boursev1.MemberSuspended || leave != nil {
		member.Status.Unseen = nil
		meta.RemoveStatusCondition(&member.Status.Conditions, boursev1.MemberRetained)
		return reconcile.Result{}, nil
	}
	kept, err := r.kept(ctx, member)
	if err != nil {
		return reconcile.Result{}, err
	}
	if kept {
		member.Status.Unseen = nil
		if meta.FindStatusCondition(member.Status.Conditions, boursev1.MemberRetained) != nil {
			kube.True(member, boursev1.MemberRetained, boursev1.ReasonSeen, "Something of the member was seen, and it stays")
		}
		return reconcile.Result{RequeueAfter: day}, nil
	}
	if left := r.seen.settlesIn(r.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left + spread(member)}, nil
	}
	now := r.Now().Truncate(time.Second)
	r.begin(member, now)
	return r.count(ctx, member, now)
}

// spread is a part of an hour that differs between members, so that those who wait for the market alike do not all come at once.
func spread(member *boursev1.Member) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(member.Namespace)) // it never fails
	return time.Duration(hash.Sum32()%uint32(settle/time.Second)) * time.Second
}

// begin begins to count, or begins anew.
func (r *Reconciler) begin(member *boursev1.Member, now time.Time) {
	unseen := member.Status.Unseen
	switch {
	case unseen == nil || within(member.Spec.AskedAt, unseen.CountedAt.Time, now): // it was there in between
		r.note(member, 0, now)
	case unseen.CountedAt.After(now.Add(day)): // a wrong clock counted
		r.note(member, *unseen.Days, now)
	}
}

// kept says whether something keeps the member: that it was seen, what it has in the market, or that an admin made it.
func (r *Reconciler) kept(ctx context.Context, member *boursev1.Member) (bool, error) {
	if r.shown(member) {
		return true, nil
	}
	found, err := r.open(ctx, r.Hub, member)
	if err != nil {
		return false, err
	}
	if found.supplied+found.bought > 0 || found.earned {
		return true, nil
	}
	staked, err := r.staked(ctx, member)
	if err != nil || staked {
		return staked, err
	}
	joined, err := r.Access.Joined(ctx, member)
	if err != nil {
		return false, fmt.Errorf("find out whether the member joined: %w", err)
	}
	return !joined, nil
}

// shown says whether something was seen of the member within a day.
func (r *Reconciler) shown(member *boursev1.Member) bool {
	now := r.Now()
	return r.seen.there(member.Namespace) || within(&member.CreationTimestamp, now.Add(-day), now) || within(member.Spec.AskedAt, now.Add(-day), now)
}

// staked says whether the member has something at stake, or may have: what the chain has not said yet is not nothing.
func (r *Reconciler) staked(ctx context.Context, member *boursev1.Member) (bool, error) {
	var positions boursev1.StakePositionList
	if err := r.Hub.List(ctx, &positions, client.InNamespace(member.Namespace)); err != nil {
		return false, fmt.Errorf("list stakes: %w", err)
	}
	for i := range positions.Items {
		status := &positions.Items[i].Status
		if status.Bonded == nil || *status.Bonded > 0 || status.Unbonding != nil && *status.Unbonding > 0 {
			return true, nil
		}
	}
	return false, nil
}

// within says whether a moment is after one and not after another. Clocks differ a little; what is said to be a day ahead is the word of a
// wrong one.
func within(moment *metav1.Time, since, now time.Time) bool {
	return moment != nil && moment.After(since) && moment.Time.Before(now.Add(day))
}

// count counts a day that is over, and lets the member go when the last one is.
func (r *Reconciler) count(ctx context.Context, member *boursev1.Member, now time.Time) (reconcile.Result, error) {
	due, over := r.due(member.Status.Unseen)
	if left := due.Sub(now); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	entered, err := r.entered(ctx, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !entered {
		return reconcile.Result{RequeueAfter: settle}, nil
	}
	if over {
		ctrl.LoggerFrom(ctx).Info("Let Member go", "daysUnseen", *member.Status.Unseen.Days)
		return reconcile.Result{}, r.Access.Dismiss(ctx, member)
	}
	r.note(member, *member.Status.Unseen.Days+1, now)
	due, _ = r.due(member.Status.Unseen)
	return reconcile.Result{RequeueAfter: max(time.Second, due.Sub(now))}, nil
}

// due is when something is to be done about a member that is not seen: to let it go if all days are over, and else to count another one.
func (r *Reconciler) due(unseen *boursev1.MemberUnseen) (at time.Time, over bool) {
	if unseen.Until != nil && *unseen.Days >= r.MostUnseen {
		return unseen.Until.Time, true
	}
	return unseen.CountedAt.Add(day), false
}

// note writes down how many days were counted, and tells the member if few are left. Who is told now has all the days of the notice.
func (r *Reconciler) note(member *boursev1.Member, days int32, now time.Time) {
	unseen := &boursev1.MemberUnseen{Days: &days, CountedAt: metav1.NewTime(now)}
	was := member.Status.Unseen
	member.Status.Unseen = unseen
	left := max(0, r.MostUnseen-days)
	if left > noticeDays {
		meta.RemoveStatusCondition(&member.Status.Conditions, boursev1.MemberRetained)
		return
	}
	until, whole := now.Add(time.Duration(left)*day), now.Add(noticeDays*day)
	switch {
	case was == nil || was.Until == nil || was.Until.After(whole):
		until = whole
	case was.Until.After(until):
		until = was.Until.Time
	}
	unseen.Until = new(metav1.NewTime(until))
	kube.Failed(member, boursev1.MemberRetained, boursev1.ReasonUnseen,
		"Nothing was seen of the member for long: it is let go when status.unseen.until says, unless its manager or its wallet asks for access")
}

// entered says whether somebody else asked for access within a day. If nobody did, it may be the door that was closed, and that nothing was
// seen of a member says nothing of it.
func (r *Reconciler) entered(ctx context.Context, now time.Time) (bool, error) {
	var members boursev1.MemberList
	if err := r.Hub.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list members: %w", err)
	}
	for i := range members.Items {
		if within(members.Items[i].Spec.AskedAt, now.Add(-day), now) {
			return true, nil
		}
	}
	return false, nil
}
