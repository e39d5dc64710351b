// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

func TestWhatChangesNeitherTheSpecNorTheConditionIsLeftOut(t *testing.T) {
	market := func(generation int64, status metav1.ConditionStatus, reason string) *boursev1.Market {
		return &boursev1.Market{
			ObjectMeta: metav1.ObjectMeta{Name: "main", Generation: generation},
			Status:     boursev1.MarketStatus{Conditions: []metav1.Condition{{Type: boursev1.Ready, Status: status, Reason: reason}}},
		}
	}
	priced := market(1, metav1.ConditionTrue, "A")
	priced.Status.Prices = []boursev1.MarketPrice{{Family: "h100"}}
	cases := map[string]struct {
		after client.Object
		want  bool
	}{
		"nothing":                  {market(1, metav1.ConditionTrue, "A"), false},
		"another part of a status": {priced, false},
		"the condition's reason":   {market(1, metav1.ConditionTrue, "B"), false},
		"the spec":                 {market(2, metav1.ConditionTrue, "A"), true},
		"the condition":            {market(1, metav1.ConditionUnknown, "A"), true},
		"no object of ours":        {&corev1.Pod{}, false},
	}
	for name, tc := range cases {
		if got := kube.SpecOr(boursev1.Ready).Update(event.UpdateEvent{ObjectOld: market(1, metav1.ConditionTrue, "A"), ObjectNew: tc.after}); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
	if !kube.SpecOr(boursev1.Ready).Create(event.CreateEvent{Object: market(1, metav1.ConditionTrue, "A")}) {
		t.Error("a new object is left out")
	}
}
