// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// SpecOr leaves out changes of an object but those of its spec, and of whether the condition holds: for those whom the rest of its status
// does not concern.
func SpecOr(condition string) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(Conditioned)
		after, okAfter := e.ObjectNew.(Conditioned)
		if !okBefore || !okAfter {
			return false
		}
		return before.GetGeneration() != after.GetGeneration() || IsTrue(before, condition) != IsTrue(after, condition)
	}}
}
