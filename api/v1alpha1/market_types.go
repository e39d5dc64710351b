// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MarketSpec is the market's published rules.
type MarketSpec struct {
	// programID is the address of the lease program on chain.
	// +required
	ProgramID SolanaAddress `json:"programID,omitempty"`

	// genesisHash is the hash of the chain that the market settles on; members refuse to sign for another one.
	// +required
	GenesisHash SolanaAddress `json:"genesisHash,omitempty"`

	// authority is the wallet that made the market's configuration on chain and alone can change it. The configuration bounds what
	// this spec may ask: the treasury, the fees and the arbitration.
	// +required
	Authority SolanaAddress `json:"authority,omitempty"`

	// treasury is the wallet that receives the market's fees; it must be the one in the configuration on chain.
	// +required
	Treasury SolanaAddress `json:"treasury,omitempty"`

	// fees are the market's fees in basis points of a period's gross amount.
	// +optional
	// +default={}
	Fees MarketFees `json:"fees,omitzero"`

	// tokens are what jobs may be paid in.
	// +required
	// +listType=map
	// +listMapKey=symbol
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Tokens []MarketToken `json:"tokens,omitempty"`

	// settlement says how often leases are settled.
	// +optional
	// +default={}
	Settlement MarketSettlement `json:"settlement,omitzero"`

	// arbitration says who decides when a supplier is owed more than its buyer promised. Without it, nobody does.
	// +optional
	Arbitration *MarketArbitration `json:"arbitration,omitempty"`

	// stake is what the market asks suppliers to have at stake. Without it, nothing is asked and nobody can stake.
	// +optional
	Stake *MarketStake `json:"stake,omitempty"`

	// buyBack says how fees in other tokens become a burn of the market's own token; without it they stay in the treasury.
	// +optional
	BuyBack *MarketBuyBack `json:"buyBack,omitempty"`

	// priceIndex makes the market publish in status.prices what a GPU costs. A pool with an autoPrice follows it, within its own limits;
	// nobody else need. Without it, there are only the prices that suppliers state.
	// +optional
	PriceIndex *MarketPriceIndex `json:"priceIndex,omitempty"`

	// gateway is where buyers see logs and dashboards of their jobs. Suppliers open tunnels to it for that. Without it, nobody sees them from
	// outside of the supplier's cluster.
	// +optional
	Gateway *MarketGateway `json:"gateway,omitempty"`
}

// MarketGateway is where a market's gateway is, and how it is known.
type MarketGateway struct {
	// url is where members reach the gateway, such as https://gateway.example:9445.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^https://[A-Za-z0-9.\-\[\]:]+/?$`
	URL string `json:"url,omitempty"`
	// caBundle are the certificates, in PEM, that the gateway is known by. Without them, it is known by the system's.
	// +optional
	// +kubebuilder:validation:MinLength=54
	// +kubebuilder:validation:MaxLength=16384
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----') && self.contains('-----END CERTIFICATE-----')",message="caBundle must be certificates in PEM"
	CABundle string `json:"caBundle,omitempty"`
}

// MarketFees are fees in basis points: hundredths of a percent.
type MarketFees struct {
	// buyerBps is added to what the buyer pays.
	// +optional
	// +default=25
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	BuyerBps *int32 `json:"buyerBps,omitempty"`
	// supplierBps is deducted from what the supplier is paid.
	// +optional
	// +default=25
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	SupplierBps *int32 `json:"supplierBps,omitempty"`
}

// MarketArbitration is who decides disputes of new leases, and within which bounds.
type MarketArbitration struct {
	// arbiter is the wallet that may award; it must be the one in the configuration on chain.
	// +required
	Arbiter SolanaAddress `json:"arbiter,omitempty"`
	// capBps is the most that an award may take of a lease's deposit without the buyer's promise, in basis points.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5000
	CapBps int32 `json:"capBps,omitempty"`
	// delaySeconds is how long after a dispute nobody can be awarded anything, so that the buyer can answer it. An award must come
	// before twice that time; a dispute holds the buyer's refund for as long.
	// +required
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	DelaySeconds int32 `json:"delaySeconds,omitempty"`
}

// MarketToken is one token that jobs may be paid in.
type MarketToken struct {
	// symbol is the token's name in this market.
	// +required
	Symbol TokenSymbol `json:"symbol,omitempty"`

	// mint is the token's mint on chain.
	// +required
	Mint SolanaAddress `json:"mint,omitempty"`

	// decimals is how many decimals the mint has; it must agree with the chain.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=12
	Decimals *int32 `json:"decimals,omitempty"`

	// priceUSD is what one whole token is worth, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`

	// facilitationBps is added to the buyer's fee when a job is paid in this token.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	FacilitationBps *int32 `json:"facilitationBps,omitempty"`

	// burnBps is the share of the fees in this token that a claim burns at once; the rest goes to the treasury.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	BurnBps *int32 `json:"burnBps,omitempty"`

	// freezeAuthority says whether a mint whose issuer can freeze accounts is accepted.
	// +optional
	// +default="Refuse"
	FreezeAuthority FreezePolicy `json:"freezeAuthority,omitempty"`
}

// FreezePolicy says what the market does about a mint whose issuer can freeze accounts.
//
// +kubebuilder:validation:Enum=Refuse;Accept
type FreezePolicy string

const (
	// FreezeRefuse refuses such a mint.
	FreezeRefuse FreezePolicy = "Refuse"
	// FreezeAccept accepts it: the issuer is trusted not to freeze an escrow.
	FreezeAccept FreezePolicy = "Accept"
)

// MarketSettlement says how often leases are settled.
type MarketSettlement struct {
	// periodSeconds is the length of one billing period.
	// +optional
	// +default=3600
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`

	// unpaidPeriods is for how many periods of use, and ten minutes at least, a buyer may promise nothing before the supplier ends the
	// lease.
	// +optional
	// +default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=24
	UnpaidPeriods int32 `json:"unpaidPeriods,omitempty"`

	// graceSeconds is how long after a lease's term its escrow stays open for the last claim.
	// +optional
	// +default=21600
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=604800
	GraceSeconds int32 `json:"graceSeconds,omitempty"`
}

// MarketBuyBack says how fees that claims do not burn are swapped for the market's own token, once for each token and day, and burned.
type MarketBuyBack struct {
	// token is the market's own token: what is bought and burned. It is one of spec.tokens.
	// +required
	Token TokenSymbol `json:"token,omitempty"`

	// state says whether fees are bought back now.
	// +optional
	// +default="Active"
	State BuyBackState `json:"state,omitempty"`

	// endpoint is the URL of the swap API that builds the swaps. The default is Jupiter's.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^https?://[^/]+`
	Endpoint string `json:"endpoint,omitempty"`

	// programs are the addresses of the only programs that a swap may call itself.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Programs []SolanaAddress `json:"programs,omitempty"`

	// oracle is where the price of token is read that a swap is held to.
	// +required
	Oracle MarketOracle `json:"oracle,omitzero"`

	// maxSlippageBps is how far, in basis points, what a swap must yield may be from what the oracle's price says.
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=2000
	MaxSlippageBps int32 `json:"maxSlippageBps,omitempty"`

	// maxPerEpochUSD is the most that is spent for one token and day, in US dollars at the price in spec.tokens. More than that stays in
	// the treasury.
	// +optional
	// +default="10000"
	MaxPerEpochUSD USDPrice `json:"maxPerEpochUSD,omitempty"`

	// minPerEpochUSD is the least that is worth a swap, in US dollars. Fees of less stay in the treasury.
	// +optional
	// +default="1"
	MinPerEpochUSD USDPrice `json:"minPerEpochUSD,omitempty"`
}

// BuyBackState says whether fees are bought back now.
//
// +kubebuilder:validation:Enum=Active;Paused
type BuyBackState string

const (
	// BuyBackActive buys back.
	BuyBackActive BuyBackState = "Active"
	// BuyBackPaused signs nothing. What is signed already is still sent.
	BuyBackPaused BuyBackState = "Paused"
)

// MarketOracle is where a token's price in US dollars is read.
type MarketOracle struct {
	// account is the price feed's account on chain: a Pyth price update.
	// +required
	Account SolanaAddress `json:"account,omitempty"`

	// feedID is the feed's id in hexadecimal.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	FeedID string `json:"feedID,omitempty"`

	// programID is the program that writes the account: Pyth's receiver.
	// +optional
	// +default="rec5EKMGg6MxZYaMdyBfgwp4d5rB9T1VQH5pJv5LtFJ"
	ProgramID SolanaAddress `json:"programID,omitempty"`

	// maxAgeSeconds is how old a price may be.
	// +optional
	// +default=60
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	MaxAgeSeconds int32 `json:"maxAgeSeconds,omitempty"`

	// maxConfidenceBps is how wide the price's confidence interval may be, in basis points of the price.
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2000
	MaxConfidenceBps int32 `json:"maxConfidenceBps,omitempty"`
}

// MarketStatus is what the market role last saw.
type MarketStatus struct {
	// conditions tell whether the market's rules agree with the chain.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// prices are the price index of what is or was for sale, as spec.priceIndex asks for.
	// +optional
	// +listType=map
	// +listMapKey=family
	// +listMapKey=regionGroup
	// +kubebuilder:validation:MaxItems=288
	Prices []MarketPrice `json:"prices,omitempty"`
}

// Market is one exchange: its tokens, fees and addresses. Leases keep the terms of the version that they were signed under.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mkt,categories=bourse
// +kubebuilder:printcolumn:name="Buyer-Bps",type=integer,JSONPath=`.spec.fees.buyerBps`
// +kubebuilder:printcolumn:name="Supplier-Bps",type=integer,JSONPath=`.spec.fees.supplierBps`
// +kubebuilder:printcolumn:name="Period",type=integer,JSONPath=`.spec.settlement.periodSeconds`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Treasury",type=string,priority=1,JSONPath=`.spec.treasury`
// +kubebuilder:printcolumn:name="Authority",type=string,priority=1,JSONPath=`.spec.authority`
// +kubebuilder:printcolumn:name="Arbiter",type=string,priority=1,JSONPath=`.spec.arbitration.arbiter`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.stake) || self.spec.tokens.exists(t, t.symbol == self.spec.stake.token)",message="spec.stake.token must be one of spec.tokens",fieldPath=".spec.stake.token"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.buyBack) || self.spec.tokens.exists(t, t.symbol == self.spec.buyBack.token)",message="spec.buyBack.token must be one of spec.tokens",fieldPath=".spec.buyBack.token"
// +kubebuilder:validation:XValidation:rule="self.spec.genesisHash == oldSelf.spec.genesisHash",message="spec.genesisHash is immutable: make another Market for another chain",fieldPath=".spec.genesisHash"
type Market struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the market's published rules.
	// +required
	Spec MarketSpec `json:"spec,omitzero"`
	// status is what the market role last saw.
	// +optional
	Status MarketStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the market's conditions.
func (m *Market) Conditions() *[]metav1.Condition { return &m.Status.Conditions }

// MarketList is a list of Markets.
//
// +kubebuilder:object:root=true
type MarketList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Market `json:"items"`
}
