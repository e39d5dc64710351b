// SPDX-License-Identifier: Apache-2.0

package builders

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// StakePosition returns the own stake of a namespace's member in Market: it wants 1600 IO and nobody has looked at it yet.
func StakePosition(namespace string) *boursev1.StakePosition {
	return &boursev1.StakePosition{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: boursev1.OwnStakeName, CreationTimestamp: metav1.NewTime(Start), Generation: 1,
		},
		Spec: boursev1.StakePositionSpec{Market: "main", Token: "IO", Amount: "1600"},
	}
}

// Slash returns the market's proposal to slash the supplier for an hour in which leased GPUs were away.
func Slash() *boursev1.Slash {
	evidence := boursev1.SHA256(Hash("evidence"))
	return &boursev1.Slash{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: boursev1.PublicNamespace, Name: string(evidence[:16]), CreationTimestamp: metav1.NewTime(Start), Generation: 1,
		},
		Spec: boursev1.SlashSpec{
			Market: "main", Owner: Address(Supplier), Reason: boursev1.SlashRentedOffline, LastedSeconds: new(int64(3600)),
			Evidence: evidence, State: boursev1.SlashProposed,
		},
	}
}
