// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// SolanaAddress is the base58 form of a 32-byte Solana public key or derived address.
//
// +kubebuilder:validation:MinLength=32
// +kubebuilder:validation:MaxLength=44
// +kubebuilder:validation:Pattern=`^[1-9A-HJ-NP-Za-km-z]+$`
type SolanaAddress string

// SolanaSignature is the base58 form of a 64-byte ed25519 signature; that of a transaction's first signer names the transaction.
//
// +kubebuilder:validation:MinLength=64
// +kubebuilder:validation:MaxLength=88
// +kubebuilder:validation:Pattern=`^[1-9A-HJ-NP-Za-km-z]+$`
type SolanaSignature string

// USDPrice is a decimal amount of US dollars with at most six decimals, such as "1.85".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$`
type USDPrice string

// TokenSymbol names one of the market's tokens, such as "IO".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=10
// +kubebuilder:validation:Pattern=`^[A-Z][A-Z0-9]*$`
type TokenSymbol string

// TokenAmount is a decimal amount of whole tokens, such as "1600" or "0.5", with at most as many decimals as the token has.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,10})(\.[0-9]{1,12})?$`
type TokenAmount string

// SHA256 is a digest in hexadecimal.
//
// +kubebuilder:validation:MinLength=64
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
type SHA256 string

// GPUModel is a normalized GPU model name, such as "h100-sxm-80gb" or "rtx-4090".
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=40
// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
type GPUModel string

// Region names a place as precisely as its supplier wishes to say it, such as "eu-north" or "us-east-1".
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
type Region string

// Tier says whether a lease may be taken back by its supplier.
//
// +kubebuilder:validation:Enum=Firm;Interruptible
type Tier string

const (
	// TierFirm is a lease that the supplier may not end early without breach.
	TierFirm Tier = "Firm"
	// TierInterruptible is a lease that the supplier may take back after the notice that its terms state.
	TierInterruptible Tier = "Interruptible"
)

// Isolation is how strongly a lease's containers are kept apart from the supplier's other work, weakest first.
//
// +kubebuilder:validation:Enum=Container;Sandbox;VM;Confidential
type Isolation string

const (
	// IsolationContainer is an ordinary container: the kernel and the GPU driver are shared.
	IsolationContainer Isolation = "Container"
	// IsolationSandbox is a container with a kernel of its own in user space.
	IsolationSandbox Isolation = "Sandbox"
	// IsolationVM is a virtual machine with passed-through GPUs.
	IsolationVM Isolation = "VM"
	// IsolationConfidential is a virtual machine whose memory the supplier cannot read.
	IsolationConfidential Isolation = "Confidential"
)

// Egress is what a lease's pods may reach outside their own namespace.
//
// +kubebuilder:validation:Enum=None;Registry;Internet
type Egress string

const (
	// EgressNone allows nothing but the cluster's DNS.
	EgressNone Egress = "None"
	// EgressRegistry allows the supplier's package and image registries too.
	EgressRegistry Egress = "Registry"
	// EgressInternet allows public addresses, never private, link-local or metadata ones.
	EgressInternet Egress = "Internet"
)

// Sharing is how one GPU is divided before it is sold.
//
// +kubebuilder:validation:Enum=None;MIG
type Sharing string

const (
	// SharingNone sells whole GPUs.
	SharingNone Sharing = "None"
	// SharingMIG sells hardware partitions with memory and faults of their own.
	SharingMIG Sharing = "MIG"
)

// Party is who brought an end about.
//
// +kubebuilder:validation:Enum=Buyer;Supplier;Network;Control;Market
type Party string

const (
	// PartyBuyer is the buyer, or the buyer's program.
	PartyBuyer Party = "Buyer"
	// PartySupplier is the supplier, or the supplier's machines.
	PartySupplier Party = "Supplier"
	// PartyNetwork is the chain or the links between members.
	PartyNetwork Party = "Network"
	// PartyControl is a fault of the operator itself.
	PartyControl Party = "Control"
	// PartyMarket is a decision of the market.
	PartyMarket Party = "Market"
)

// ObjectReference names an object of a known kind in some namespace.
type ObjectReference struct {
	// namespace is the object's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name is the object's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// TransactionPurpose is what a journalled transaction does.
//
// +kubebuilder:validation:Enum=Open;Claim;Close;Dispute;Bond;Unbond;Withdraw;Appeal;ProposeSlash;ExecuteSlash;DropSlash;BuyBack
type TransactionPurpose string

const (
	// TransactionOpen opens a lease's escrow and deposits into it.
	TransactionOpen TransactionPurpose = "Open"
	// TransactionClaim pays out what the newest voucher promises.
	TransactionClaim TransactionPurpose = "Claim"
	// TransactionClose refunds the rest to the buyer and closes the escrow.
	TransactionClose TransactionPurpose = "Close"
	// TransactionBuyBack swaps an epoch's fees for the market's own token and burns it.
	TransactionBuyBack TransactionPurpose = "BuyBack"
	// TransactionDispute says on chain that the supplier is owed more than the buyer promised.
	TransactionDispute TransactionPurpose = "Dispute"
	// TransactionBond puts tokens at stake.
	TransactionBond TransactionPurpose = "Bond"
	// TransactionUnbond begins to take stake back.
	TransactionUnbond TransactionPurpose = "Unbond"
	// TransactionWithdraw takes back what has been unbonding for long enough.
	TransactionWithdraw TransactionPurpose = "Withdraw"
	// TransactionAppeal appeals against a pending slash.
	TransactionAppeal TransactionPurpose = "Appeal"
	// TransactionProposeSlash proposes a slash.
	TransactionProposeSlash TransactionPurpose = "ProposeSlash"
	// TransactionExecuteSlash executes a slash whose time for appeals is over.
	TransactionExecuteSlash TransactionPurpose = "ExecuteSlash"
	// TransactionDropSlash takes a pending slash back.
	TransactionDropSlash TransactionPurpose = "DropSlash"
)

// TransactionState is how far a journalled transaction has come.
//
// +kubebuilder:validation:Enum=Signed;Landed;Failed
type TransactionState string

const (
	// TransactionSigned is a transaction that may be on its way; only its own bytes may be sent.
	TransactionSigned TransactionState = "Signed"
	// TransactionLanded is a transaction that is finalized and succeeded.
	TransactionLanded TransactionState = "Landed"
	// TransactionFailed is a transaction that is finalized and failed; nothing but its fee was spent.
	TransactionFailed TransactionState = "Failed"
)

// Transaction is a signed Solana transaction, written down before it is sent. Sending the same bytes again is harmless;
// a new attempt is signed only after this one can no longer land.
type Transaction struct {
	// purpose is what the transaction does.
	// +required
	Purpose TransactionPurpose `json:"purpose,omitempty"`
	// state is how far it has come.
	// +required
	State TransactionState `json:"state,omitempty"`
	// signature names the transaction on chain.
	// +required
	Signature SolanaSignature `json:"signature,omitempty"`
	// raw is the signed transaction in base64; it is dropped once the transaction has landed or failed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1648
	Raw string `json:"raw,omitempty"`
	// lastValidBlockHeight is the last block height at which the transaction can still land.
	// +required
	// +kubebuilder:validation:Minimum=0
	LastValidBlockHeight *int64 `json:"lastValidBlockHeight,omitempty"`
	// slot is the slot at which the transaction was signed.
	// +required
	// +kubebuilder:validation:Minimum=0
	Slot *int64 `json:"slot,omitempty"`
	// attempt counts the times that this purpose was signed, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`
	// gross is the cumulative amount that a claim pays up to, or that a dispute is about, in base units of the lease's token.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Gross *int64 `json:"gross,omitempty"`
	// error is what the chain answered when the transaction failed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Error string `json:"error,omitempty"`
}
