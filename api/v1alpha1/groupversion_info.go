// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the Bourse API: what pools offer, what jobs ask for, what members agreed on, and what was paid.
// +kubebuilder:object:generate=true
// +groupName=bourse.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every type in this package.
	GroupVersion = schema.GroupVersion{Group: "bourse.dev", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds every type in this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

// PublicNamespace is the hub namespace that holds the market's public records: Settlements, FeeBurns and Slashes.
const PublicNamespace = "bourse-public"

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&ComputeJob{}, &ComputeJobList{},
		&FeeBurn{}, &FeeBurnList{},
		&GPULease{}, &GPULeaseList{},
		&GPUNode{}, &GPUNodeList{},
		&GPUOffer{}, &GPUOfferList{},
		&GPUPool{}, &GPUPoolList{},
		&LeaseProgram{}, &LeaseProgramList{},
		&Market{}, &MarketList{},
		&Member{}, &MemberList{},
		&Settlement{}, &SettlementList{},
		&Slash{}, &SlashList{},
		&StakePosition{}, &StakePositionList{},
		&Voucher{}, &VoucherList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
