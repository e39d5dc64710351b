// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Conditioned is an object with conditions.
type Conditioned interface {
	client.Object
	Conditions() *[]metav1.Condition
}

// True says that the condition holds.
func True(obj Conditioned, condition, reason, message string) {
	set(obj, condition, metav1.ConditionTrue, reason, message)
}

// Waiting says that the condition does not hold yet; reason says what is waited for.
func Waiting(obj Conditioned, condition, reason, message string) {
	set(obj, condition, metav1.ConditionUnknown, reason, message)
}

// Failed says that the condition cannot hold until someone acts.
func Failed(obj Conditioned, condition, reason, message string) {
	set(obj, condition, metav1.ConditionFalse, reason, message)
}

// IsTrue says whether the condition holds.
func IsTrue(obj Conditioned, condition string) bool {
	return meta.IsStatusConditionTrue(*obj.Conditions(), condition)
}

// IsFalse says whether the condition was declared impossible.
func IsFalse(obj Conditioned, condition string) bool {
	return meta.IsStatusConditionFalse(*obj.Conditions(), condition)
}

func set(obj Conditioned, condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(obj.Conditions(), metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message, ObservedGeneration: obj.GetGeneration(),
	})
}
