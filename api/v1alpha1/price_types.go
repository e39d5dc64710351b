// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MarketPriceIndex says of which GPUs the market publishes a price. The price begins where the market says, rises while more than nine in
// ten of the GPUs for sale are leased, and falls while fewer are: by 2 % at most every five minutes. Who waits for a GPU moves nothing.
type MarketPriceIndex struct {
	// families are the GPUs that have a price.
	// +required
	// +listType=map
	// +listMapKey=family
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Families []FamilyPrice `json:"families,omitempty"`

	// regionGroups are places with a price of their own: "eu" stands for "eu-north" and every other region that begins so. The longest that
	// fits counts. Regions in none of them are the group "world".
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	RegionGroups []Region `json:"regionGroups,omitempty"`

	// minPercent is the least that a price may come to, in percent of where it began.
	// +optional
	// +default=60
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=100
	MinPercent int32 `json:"minPercent,omitempty"`

	// maxPercent is the most that a price may come to, in percent of where it began.
	// +optional
	// +default=250
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=1000
	MaxPercent int32 `json:"maxPercent,omitempty"`
}

// FamilyPrice is where the price of a family of GPUs begins.
//
// +kubebuilder:validation:XValidation:rule="double(self.priceUSD) >= 0.001 && double(self.priceUSD) <= 100000.0",message="priceUSD must be from 0.001 to 100000",fieldPath=".priceUSD"
type FamilyPrice struct {
	// family is the models' name, or how it begins: "h100" stands for "h100-sxm-80gb" and every other h100. The longest that fits counts.
	// Partitions of GPUs belong only to a family whose name has "-mig" in it.
	// +required
	Family GPUModel `json:"family,omitempty"`
	// priceUSD is what one GPU costs for one hour at first, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
}

// WorldGroup is the group of the regions that are in no other one.
const WorldGroup Region = "world"

// MarketPrice is what a GPU of a family costs in a group of regions, as the market publishes it. It is advice.
type MarketPrice struct {
	// family is the GPUs' family, one of spec.priceIndex.families.
	// +required
	Family GPUModel `json:"family,omitempty"`
	// regionGroup is where they are, one of spec.priceIndex.regionGroups or "world".
	// +required
	RegionGroup Region `json:"regionGroup,omitempty"`
	// priceUSD is the price of one GPU for one hour, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
	// leasedPercent is how many percent of the GPUs for sale were leased when the price was set, rounded down.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	LeasedPercent *int32 `json:"leasedPercent,omitempty"`
	// indexPPM is the price in millionths of where it began: what the next step is counted from.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	IndexPPM int32 `json:"indexPPM,omitempty"`
	// at is when the price was set. It grows old while no such GPU is for sale.
	// +required
	At metav1.Time `json:"at,omitzero"`
}
