// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MarketStake is what the market asks suppliers to have at stake: perGPU × max(1, multiplier of the model) × GPUs.
type MarketStake struct {
	// token is what is staked: the one whose mint the market's configuration on chain names.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// perGPU is what one GPU needs, such as "200".
	// +required
	PerGPU TokenAmount `json:"perGPU,omitempty"`
	// multipliers weigh models whose GPUs need more.
	// +optional
	// +listType=map
	// +listMapKey=model
	// +kubebuilder:validation:MaxItems=64
	Multipliers []StakeMultiplier `json:"multipliers,omitempty"`
}

// StakeMultiplier weighs the GPUs of a model.
type StakeMultiplier struct {
	// model is the model's name, or how it begins: "h100" stands for "h100-sxm-80gb" and every other h100. The longest that fits counts.
	// +required
	Model GPUModel `json:"model,omitempty"`
	// multiplier is how many times perGPU one GPU of the model needs, such as "1.25". Less than 1 counts as 1.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?$`
	Multiplier string `json:"multiplier,omitempty"`
}
