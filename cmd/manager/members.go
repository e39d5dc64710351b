// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
)

// membersOf counts the market's members, as their statuses say.
func membersOf(ctx context.Context, hub client.Reader) func() (map[metrics.MemberState]int, error) {
	return func() (map[metrics.MemberState]int, error) {
		var members boursev1.MemberList
		if err := hub.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list members: %w", err)
		}
		sum := map[metrics.MemberState]int{}
		for i := range members.Items {
			member := &members.Items[i]
			sum[metrics.MemberState{State: memberState(member), Managers: managersOf(member)}]++
		}
		return sum, nil
	}
}

func memberState(member *boursev1.Member) string {
	switch {
	case member.Spec.State == boursev1.MemberSuspended:
		return metrics.MemberSuspended
	case kube.IsTrue(member, boursev1.Ready):
		return metrics.MemberReady
	case kube.IsFalse(member, boursev1.Ready):
		return metrics.MemberRefused
	default:
		return metrics.MemberPending
	}
}

func managersOf(member *boursev1.Member) string {
	switch {
	case kube.IsTrue(member, boursev1.MemberConnected):
		return metrics.ManagersSeen
	case meta.FindStatusCondition(member.Status.Conditions, boursev1.MemberConnected) != nil:
		return metrics.ManagersNotSeen
	default:
		return metrics.ManagersSilent
	}
}
