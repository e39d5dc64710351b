// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

func TestMembersAreCountedWhenTheyAreScraped(t *testing.T) {
	with := func(namespace string, change func(m *boursev1.Member)) *boursev1.Member {
		m := builders.Member(namespace)
		change(m)
		return m
	}
	hub := fakehub.New(t, nil,
		with("a", func(m *boursev1.Member) { kube.True(m, boursev1.MemberConnected, boursev1.ReasonSeen, "It is there") }),
		with("b", func(m *boursev1.Member) { kube.True(m, boursev1.MemberConnected, boursev1.ReasonSeen, "It is there") }),
		with("c", func(m *boursev1.Member) {
			kube.Waiting(m, boursev1.MemberConnected, boursev1.ReasonNotSeen, "It is not")
		}),
		with("d", func(m *boursev1.Member) { m.Spec.State = boursev1.MemberSuspended }),
		with("e", func(m *boursev1.Member) {
			kube.Failed(m, boursev1.Ready, boursev1.ReasonWalletTaken, "Another namespace holds this wallet")
		}),
		with("f", func(m *boursev1.Member) { m.Status.Conditions = nil }),
	)
	reg := prometheus.NewPedanticRegistry()
	metrics.CollectMembers(reg, membersOf(t.Context(), hub))
	want := `# HELP bourse_members The market's members, by state (ready, suspended, refused, pending) and what is seen of their managers (seen, not_seen, silent).
# TYPE bourse_members gauge
bourse_members{managers="not_seen",state="ready"} 1
bourse_members{managers="seen",state="ready"} 2
bourse_members{managers="silent",state="pending"} 1
bourse_members{managers="silent",state="refused"} 1
bourse_members{managers="silent",state="suspended"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
