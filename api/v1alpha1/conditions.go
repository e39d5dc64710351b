// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Conditions have positive polarity and three states with one meaning each: True, it holds; Unknown, it is under way and the
// reason says what is waited for; False, it cannot hold until someone acts. Reasons are part of the API.

// Conditions of things that live (Market, Member, GPUPool, GPUOffer, GPUNode, StakePosition) are summed up by Ready;
// those of things that end (ComputeJob, GPULease, Settlement, FeeBurn, Slash) by Succeeded.
const (
	// Ready is True while a thing that lives does what it is for.
	Ready = "Ready"
	// Succeeded is Unknown until a thing that ends has ended, then True or False for good.
	Succeeded = "Succeeded"
)

// The reasons of a Market's Ready.
const (
	// ReasonVerified says that the program and every mint are on chain as the spec says.
	ReasonVerified = "Verified"
	// ReasonChainUnreachable says that the chain could not be asked; nothing is known to be wrong.
	ReasonChainUnreachable = "ChainUnreachable"
	// ReasonWrongChain says that the chain's genesis hash is another one.
	ReasonWrongChain = "WrongChain"
	// ReasonNoProgram says that no executable program stands at programID.
	ReasonNoProgram = "NoProgram"
	// ReasonTreasuryInvalid says that the treasury is not a Solana address.
	ReasonTreasuryInvalid = "TreasuryInvalid"
	// ReasonNoConfig says that the authority has made no configuration on chain.
	ReasonNoConfig = "NoConfig"
	// ReasonConfigDisagrees says that the configuration on chain does not allow what the market says.
	ReasonConfigDisagrees = "ConfigDisagrees"
	// ReasonMintRefused says that a mint is missing, has other decimals, or has an extension or authority that is refused.
	ReasonMintRefused = "MintRefused"
)

// MemberConnected is True while the member's managers are seen in the hub. A member whose managers never said that they are there does not
// have it.
const MemberConnected = "Connected"

// The reasons of a Member's conditions.
const (
	// ReasonSeen says that every manager was seen within the last minutes (Connected), or that the member came back (Retained).
	ReasonSeen = "Seen"
	// ReasonNotSeen (Connected, Unknown) says that a manager was not; the message says of which role.
	ReasonNotSeen = "NotSeen"
	// ReasonAdmitted says that the member may take part.
	ReasonAdmitted = "Admitted"
	// ReasonWalletTaken says that another namespace holds the same wallet.
	ReasonWalletTaken = "WalletTaken"
	// ReasonWalletInvalid says that the wallet is not a Solana address.
	ReasonWalletInvalid = "WalletInvalid"
	// ReasonSuspended says that the market's admin has suspended the member.
	ReasonSuspended = "Suspended"
	// ReasonLeaving says that the member leaves: what it has is matched no more.
	ReasonLeaving = "Leaving"
)

// MemberSettled is True once nothing of a member that leaves is open any more, and Unknown until then. Others do not have it.
const MemberSettled = "Settled"

// The reasons of a Member's Settled.
const (
	// ReasonLeasesOpen waits for the leases that status.leaving counts.
	ReasonLeasesOpen = "LeasesOpen"
	// ReasonNothingOpen says that the member is being removed.
	ReasonNothingOpen = "NothingOpen"
	// ReasonKept says that nothing is open, and that the Member stays so that the wallet stays suspended.
	ReasonKept = "Kept"
)

// MemberRetained is False of a member that joined when the market is about to let it go, as status.unseen.until says, because nothing was
// seen of it for long; and True, as Seen, of one that came back. Others do not have it.
const MemberRetained = "Retained"

// ReasonUnseen (Retained, False) says that no manager of the member was seen, and that nobody asked for access in its name.
const ReasonUnseen = "Unseen"

// The conditions of a GPUPool besides Ready.
const (
	// PoolDiscovered is True while the pool's nodes and GPUs are known.
	PoolDiscovered = "Discovered"
	// PoolAdvertised is True while the market knows what is idle.
	PoolAdvertised = "Advertised"
	// PoolIdentified is True while each GPU that an agent reports is on one node only.
	PoolIdentified = "Identified"
	// PoolBudgeted is True while all of spec.budgets can be read; a pool without budgets does not have it.
	PoolBudgeted = "Budgeted"
	// PoolPriced is True while the market has a price for each model whose price follows it; a pool without autoPrice does not have it.
	PoolPriced = "Priced"
)

// The reasons of a GPUPool's conditions.
const (
	// ReasonGPUsFound (Discovered) says that nodes with GPUs match the selector.
	ReasonGPUsFound = "GPUsFound"
	// ReasonNoNodes (Discovered) says that no node matches the selector.
	ReasonNoNodes = "NoNodes"
	// ReasonNoGPUs (Discovered) says that the matching nodes have no GPU that can be sold.
	ReasonNoGPUs = "NoGPUs"
	// ReasonOverlap (Discovered) says that another pool selects some of the same nodes.
	ReasonOverlap = "Overlap"
	// ReasonOffered (Advertised) says that the offers are published.
	ReasonOffered = "Offered"
	// ReasonCooling (Advertised, Ready) says that free GPUs are not yet idle for long enough.
	ReasonCooling = "Cooling"
	// ReasonBusy (Advertised) says that local work holds every GPU.
	ReasonBusy = "Busy"
	// ReasonOnHold (Advertised) says that the pool's mode is Hold.
	ReasonOnHold = "OnHold"
	// ReasonDraining (Advertised) says that the pool's mode is Drain.
	ReasonDraining = "Draining"
	// ReasonRecycling (Advertised, Ready) waits until mock rentals have passed, as the annotation bourse.dev/recycle asks.
	ReasonRecycling = "Recycling"
	// ReasonMaintenance (Advertised, Ready) says that a window of spec.maintenance is open.
	ReasonMaintenance = "Maintenance"
	// ReasonDistinct (Identified) says that no GPU is reported by two nodes.
	ReasonDistinct = "Distinct"
	// ReasonIdentityConflict (Identified) says that several nodes report one GPU; the message names some.
	ReasonIdentityConflict = "IdentityConflict"
	// ReasonNoAgent (Identified) says that no agent reports which GPUs the pool has.
	ReasonNoAgent = "NoAgent"
	// ReasonScheduled (Budgeted) says that all budgets count when they should.
	ReasonScheduled = "Scheduled"
	// ReasonScheduleInvalid (Budgeted) says that a budget's schedule cannot be read; the message names it.
	ReasonScheduleInvalid = "ScheduleInvalid"
	// ReasonFollowsIndex (Priced) says that the prices follow the market's index.
	ReasonFollowsIndex = "FollowsIndex"
	// ReasonNoIndex (Priced) says that the market has no index for some models, so that the pool's own prices stand; the message names them.
	ReasonNoIndex = "NoIndex"
	// ReasonDeviceFault is the reason of a GPUPool's event that tells of a GPU that fell sick.
	ReasonDeviceFault = "DeviceFault"
	// ReasonNoMember (Advertised, Ready, and a job's Mirrored) says that the member's namespace in the hub has no admitted Member.
	ReasonNoMember = "NoMember"
	// ReasonMemberLeaving (Advertised, Ready) says that the supplier leaves the hub: nothing new is sold, and leases that run go on.
	ReasonMemberLeaving = "MemberLeaving"
	// ReasonNotMember (Advertised, Ready) says that the hub does not know the supplier any more.
	ReasonNotMember = "NotMember"
	// ReasonSelling (Ready) says that the pool is discovered and advertised.
	ReasonSelling = "Selling"
)

// The reasons of a GPUOffer's Ready.
const (
	// ReasonValid says that the market matches jobs to the offer.
	ReasonValid = "Valid"
	// ReasonExpired says that the offer was not renewed in time.
	ReasonExpired = "Expired"
	// ReasonTooFarAhead says that the offer would stand for so long without its supplier that nobody could rely on it.
	ReasonTooFarAhead = "TooFarAhead"
	// ReasonUnknownToken says that the market knows none of the offer's tokens.
	ReasonUnknownToken = "UnknownToken"
	// ReasonMemberNotReady (also a job's Mirrored) says that the namespace has no admitted Member.
	ReasonMemberNotReady = "MemberNotReady"
)

// The reasons of a GPUNode's Ready.
const (
	// ReasonReading says that the agent reads the node's devices, and knows which pods have them.
	ReasonReading = "Reading"
	// ReasonKubeletUnreachable (Unknown) says that the devices are read, but that the kubelet does not say which pods have them; those that
	// had them last are still named.
	ReasonKubeletUnreachable = "KubeletUnreachable"
	// ReasonDriverMissing says that the node has no driver. Devices that were read before are still listed.
	ReasonDriverMissing = "DriverMissing"
	// ReasonDriverFailed says that a driver is there and does not answer; the message says how. Devices that were read before are still
	// listed.
	ReasonDriverFailed = "DriverFailed"
	// ReasonGPUsShared says that the kubelet hands out more GPUs than there are, so that one would be sold several times.
	ReasonGPUsShared = "GPUsShared"
)

// The conditions of a ComputeJob besides Succeeded.
const (
	// JobAdmitted is True when the market can serve such a job.
	JobAdmitted = "Admitted"
	// JobMatched is True while the job has a lease.
	JobMatched = "Matched"
	// JobFunded is True when the lease's escrow holds the deposit.
	JobFunded = "Funded"
	// JobRunning is True while every Ray worker is ready with its GPUs.
	JobRunning = "Running"
	// JobMirrored is True while the hub has the job as it is here. Only a job of a buyer's own cluster has it.
	JobMirrored = "Mirrored"
)

// The reasons of a ComputeJob's conditions.
const (
	// ReasonJobAdmitted (Admitted) says that the job's terms make sense in this market.
	ReasonJobAdmitted = "TermsAccepted"
	// ReasonNoMarket (Admitted, and an offer's Ready) says that the hub has no Market that is ready.
	ReasonNoMarket = "NoMarket"
	// ReasonTokenUnknown (Admitted) says that the market does not take the job's token.
	ReasonTokenUnknown = "TokenUnknown"
	// ReasonBudgetTooSmall (Admitted) says that the budget does not cover the job's term at its highest price.
	ReasonBudgetTooSmall = "BudgetTooSmall"
	// ReasonBuyerNotMember (Admitted) says that the job's namespace has no admitted Member.
	ReasonBuyerNotMember = "BuyerNotMember"
	// ReasonLeasing (Matched) says that an offer was chosen and its lease is being written; the message says why that one.
	ReasonLeasing = "Leasing"
	// ReasonRematching (Matched) says that the supplier did not accept the lease, and another offer is looked for.
	ReasonRematching = "Rematching"
	// ReasonOfferFound (Matched) says that an offer was found; the message says why that one.
	ReasonOfferFound = "OfferFound"
	// ReasonNoOffers (Matched) says that the market has no offer at all.
	ReasonNoOffers = "NoOffers"
	// ReasonNoOfferFits (Matched) says that every offer breaks a rule; the message counts them and names the nearest fix.
	ReasonNoOfferFits = "NoOfferFits"
	// ReasonAwaitingSupplier (Succeeded) waits for the supplier's acceptance.
	ReasonAwaitingSupplier = "AwaitingSupplier"
	// ReasonAwaitingDeposit (Funded, Succeeded) waits for the buyer's deposit on chain.
	ReasonAwaitingDeposit = "AwaitingDeposit"
	// ReasonDepositRefused (Funded) says that the buyer's own operator refuses to pay for the lease; the message says why.
	ReasonDepositRefused = "DepositRefused"
	// ReasonPromiseRefused (Funded) says that the escrow holds the deposit, and that the buyer's own operator does not believe the newest
	// usage record; the message says why.
	ReasonPromiseRefused = "PromiseRefused"
	// ReasonDeposited (Funded) says that the escrow holds the deposit.
	ReasonDeposited = "Deposited"
	// ReasonStarting (Running, Succeeded) waits for the Ray workers.
	ReasonStarting = "Starting"
	// ReasonWorkersReady (Running) says that every worker is ready.
	ReasonWorkersReady = "WorkersReady"
	// ReasonWorkersNotReady (Running) says that a worker is not ready, and the meter stands still.
	ReasonWorkersNotReady = "WorkersNotReady"
	// ReasonNodeSilent (Running) says that a worker's node does not report: nobody knows how the worker fares, and the meter stands still.
	ReasonNodeSilent = "NodeSilent"
	// ReasonEnded (Running) says that the workers are gone for good.
	ReasonEnded = "Ended"
	// ReasonMatching (Succeeded) waits for an offer.
	ReasonMatching = "Matching"
	// ReasonRunning (Succeeded) says that the job runs.
	ReasonRunning = "Running"
	// ReasonTakingBack (Succeeded, also of the lease) says that the supplier takes the GPUs away; status.notice says why and until when they
	// can be used.
	ReasonTakingBack = "TakingBack"
	// ReasonSettling (Succeeded) waits for the last claim and the refund.
	ReasonSettling = "Settling"
	// ReasonRejected (Succeeded) says that the job was not admitted.
	ReasonRejected = "Rejected"
)

// The reasons of a ComputeJob's Mirrored, and of its Succeeded while the hub does not have it.
const (
	// ReasonInHub (Mirrored) says that the hub has the job; the message says under what name.
	ReasonInHub = "InHub"
	// ReasonAwaitingMarket (Succeeded) waits until the market looks at the job, which the hub has.
	ReasonAwaitingMarket = "AwaitingMarket"
	// ReasonHubUnreachable waits for the hub, which cannot be asked now.
	ReasonHubUnreachable = "HubUnreachable"
	// ReasonHubUnauthorized waits until the hub takes the manager's token again, which it does not while the member is suspended.
	ReasonHubUnauthorized = "HubUnauthorized"
	// ReasonHubRefused says that the hub's API server does not take such a job; the message says why.
	ReasonHubRefused = "HubRefused"
	// ReasonHubForbidden says that the hub lets the member write no more jobs: its quota is used up, or it has lost its rights.
	ReasonHubForbidden = "HubForbidden"
	// ReasonWalletDiffers says that the hub's namespace is that of another wallet than the one which pays.
	ReasonWalletDiffers = "WalletDiffers"
	// ReasonSameCluster says that the hub is this cluster, so that there is nothing to mirror.
	ReasonSameCluster = "SameCluster"
	// ReasonNameTaken says that the job's name in the hub is taken by a job that is not its own.
	ReasonNameTaken = "NameTaken"
	// ReasonEditTooLate says that the job had its lease before its newest spec reached the hub.
	ReasonEditTooLate = "EditTooLate"
	// ReasonDeletedInHub waits until the hub's job, which was deleted there, is gone.
	ReasonDeletedInHub = "DeletedInHub"
	// ReasonLostInHub says that the hub's job is gone although it had a lease; it is not run twice.
	ReasonLostInHub = "LostInHub"
	// ReasonReleasing waits until the hub's job of a deleted job is gone.
	ReasonReleasing = "Releasing"
	// ReasonLeftInHub is the reason of an event that tells what a deleted job left in the hub.
	ReasonLeftInHub = "LeftInHub"
)

// The conditions of a GPULease besides Succeeded.
const (
	// LeaseAccepted is True when the supplier holds the capacity.
	LeaseAccepted = "Accepted"
	// LeaseFunded is True when the supplier has verified the escrow on chain.
	LeaseFunded = "Funded"
	// LeaseRunning is True while every worker is ready with its GPUs.
	LeaseRunning = "Running"
	// LeaseSettled is True when everything owed is claimed and the rest refunded.
	LeaseSettled = "Settled"
)

// The reasons of a GPULease's conditions, besides those that it shares with a ComputeJob.
const (
	// ReasonAwaitingProgram (Accepted, Running) waits for the LeaseProgram, which the market writes after the lease.
	ReasonAwaitingProgram = "AwaitingProgram"
	// ReasonProgramMissing (Accepted) says that the LeaseProgram did not come in time.
	ReasonProgramMissing = "ProgramMissing"
	// ReasonHolding (Accepted) waits until the scheduler has placed the pods that hold the GPUs.
	ReasonHolding = "Holding"
	// ReasonCapacityHeld (Accepted) says that the GPUs are held.
	ReasonCapacityHeld = "CapacityHeld"
	// ReasonCapacityGone (Accepted) says that the GPUs were not free any more.
	ReasonCapacityGone = "CapacityGone"
	// ReasonTermsRefused (Accepted) says that the lease breaks the pool's own terms.
	ReasonTermsRefused = "TermsRefused"
	// ReasonEscrowRefused (Funded) says that the escrow on chain is not what the lease says.
	ReasonEscrowRefused = "EscrowRefused"
	// ReasonUnclaimed (Settled) says that a verified promise is not yet claimed.
	ReasonUnclaimed = "Unclaimed"
	// ReasonAwaitingVoucher (Settled) waits for the buyer's promise for the newest usage record.
	ReasonAwaitingVoucher = "AwaitingVoucher"
	// ReasonClaimed (Settled) says that every promise so far is claimed.
	ReasonClaimed = "Claimed"
	// ReasonDisputed (Settled) waits for the arbiter, because the buyer did not promise the last usage.
	ReasonDisputed = "Disputed"
	// ReasonRefunding (Settled) waits for the refund.
	ReasonRefunding = "Refunding"
	// ReasonClosed (Settled) says that the escrow is closed.
	ReasonClosed = "Closed"
	// ReasonNothingOwed (Settled) says that the lease ended before its escrow was opened.
	ReasonNothingOwed = "NothingOwed"
	// ReasonTransactionFailed (Funded, Settled) says that the chain refused a transaction; the message says why.
	ReasonTransactionFailed = "TransactionFailed"
)

// The reasons why a wallet does not sign: of a ComputeJob's Funded, of a GPULease's Settled, and of a Voucher's refusal.
const (
	// ReasonPaused says that an administrator has paused the wallet.
	ReasonPaused = "Paused"
	// ReasonSpendCapReached says that the wallet would spend more in one day than its caps allow.
	ReasonSpendCapReached = "SpendCapReached"
	// ReasonMessageRefused says that the wallet does not sign such a transaction: it is for another program, or of another form.
	ReasonMessageRefused = "MessageRefused"
	// ReasonSignerRefused says that the remote signer answered, and not with the wallet's signature.
	ReasonSignerRefused = "SignerRefused"
	// ReasonSignerUnavailable says that the remote signer does not answer.
	ReasonSignerUnavailable = "SignerUnavailable"
)

// The reasons why a lease ended; those of a lease's end, and of Succeeded on the lease and on its job.
const (
	// EndCompleted: the program ended by itself, well.
	EndCompleted = "Completed"
	// EndTermReached: an interactive cluster reached the end of its term.
	EndTermReached = "TermReached"
	// EndJobDeleted: the buyer deleted the job.
	EndJobDeleted = "JobDeleted"
	// EndJobFailed: the program ended by itself, badly, or ran past its term.
	EndJobFailed = "JobFailed"
	// EndNotAccepted: the supplier did not accept in time.
	EndNotAccepted = "NotAccepted"
	// EndNotFunded: the buyer did not deposit in time.
	EndNotFunded = "NotFunded"
	// EndPartEnded: another part of the job ended badly or was not accepted, so that the market ended this one.
	EndPartEnded = "PartEnded"
	// EndTakenBack: the supplier took an interruptible lease back.
	EndTakenBack = "TakenBack"
	// EndBreached: the supplier took a firm lease away, which it had promised not to do.
	EndBreached = "Breached"
	// EndStartTimeout: the workers did not become ready in time.
	EndStartTimeout = "StartTimeout"
	// EndUnpaid: the buyer promised nothing for what was used.
	EndUnpaid = "Unpaid"
	// EndInterrupted: the workers were not ready for too much of the time, in many short breaks.
	EndInterrupted = "Interrupted"
	// EndSupplierLeft: the supplier left the market before the lease was over.
	EndSupplierLeft = "SupplierLeft"
	// EndFault: the lease could not go on; the message says why.
	EndFault = "Fault"
)

// The condition of a Voucher, and its reasons.
const (
	// VoucherVerified is True when the buyer's signature holds over the newest promise.
	VoucherVerified = "Verified"
	// ReasonSignatureHolds says that the signature is the buyer's.
	ReasonSignatureHolds = "SignatureHolds"
	// ReasonSignatureRefused says that the signature is not the buyer's over this promise.
	ReasonSignatureRefused = "SignatureRefused"
	// ReasonLeaseUnknown says that the lease which the voucher names is not there, or is not this buyer's.
	ReasonLeaseUnknown = "LeaseUnknown"
	// ReasonNoPromise waits for the first promise.
	ReasonNoPromise = "NoPromise"
)

// The reasons of a Settlement's Succeeded.
const (
	// ReasonFinalized says that the transaction is finalized on chain.
	ReasonFinalized = "Finalized"
)

// The reasons of a FeeBurn's Succeeded.
const (
	// ReasonEpochOpen waits for the end of the epoch.
	ReasonEpochOpen = "EpochOpen"
	// ReasonBurned says that the epoch is over and its sum is final, and that what was to be bought back was burned.
	ReasonBurned = "Burned"
	// ReasonNothingToBurn says that the epoch is over and its fees are not, or not enough, to be bought back.
	ReasonNothingToBurn = "NothingToBurn"
	// ReasonBuyBackOff waits for a market that says in spec.buyBack how fees are bought back.
	ReasonBuyBackOff = "BuyBackOff"
	// ReasonBuyBackPaused waits until spec.buyBack.state is Active.
	ReasonBuyBackPaused = "BuyBackPaused"
	// ReasonTwoMarkets says that two markets want to buy back the same fees.
	ReasonTwoMarkets = "TwoMarkets"
	// ReasonTreasuryKeyMissing says that this operator cannot sign for the market's treasury.
	ReasonTreasuryKeyMissing = "TreasuryKeyMissing"
	// ReasonTreasuryShort says that the treasury holds less than the epoch's fees.
	ReasonTreasuryShort = "TreasuryShort"
	// ReasonTreasuryRefused says that an account of the treasury cannot be used; the message says why.
	ReasonTreasuryRefused = "TreasuryRefused"
	// ReasonOracleMissing says that the oracle's account is not the price feed that spec.buyBack.oracle describes.
	ReasonOracleMissing = "OracleMissing"
	// ReasonPriceStale waits for a newer price.
	ReasonPriceStale = "PriceStale"
	// ReasonPriceUncertain waits for a price that is verified and certain enough.
	ReasonPriceUncertain = "PriceUncertain"
	// ReasonPriceOutsideBound waits for a swap that yields what the oracle's price says.
	ReasonPriceOutsideBound = "PriceOutsideBound"
	// ReasonSwapUnavailable waits for the swap API.
	ReasonSwapUnavailable = "SwapUnavailable"
	// ReasonRouteRefused says that the swap which the API proposed is not one to sign; the message says why.
	ReasonRouteRefused = "RouteRefused"
	// ReasonBuyingBack waits until the chain has decided about a signed buy-back.
	ReasonBuyingBack = "BuyingBack"
	// ReasonBuyBackFailed says that the chain refused a signed buy-back, which spent nothing but its fee; another one follows.
	ReasonBuyBackFailed = "BuyBackFailed"
)

// The conditions of a StakePosition besides Ready.
const (
	// StakeBonded is True while what the member wants to have at stake is at stake.
	StakeBonded = "Bonded"
	// StakeClear is True while no slash is pending against the pool.
	StakeClear = "Clear"
	// StakeCovered is True while the member's own pool has what its GPUs require.
	StakeCovered = "Covered"
)

// The reasons of a StakePosition's conditions.
const (
	// ReasonStaked (Ready) says that the stake is what it should be.
	ReasonStaked = "Staked"
	// ReasonAmountBonded (Bonded) says that what is wanted is bonded.
	ReasonAmountBonded = "AmountBonded"
	// ReasonAwaitingOperator (Bonded) waits for the member's operator to act upon spec.amount.
	ReasonAwaitingOperator = "AwaitingOperator"
	// ReasonMoving (Bonded) waits for a transaction to become final.
	ReasonMoving = "Moving"
	// ReasonMoveRefused (Bonded) says that the member's operator refuses what the spec asks for; the message says why.
	ReasonMoveRefused = "MoveRefused"
	// ReasonStakeReduced (Bonded) says that slashes left less than is wanted.
	ReasonStakeReduced = "StakeReduced"
	// ReasonNoStake (Bonded) says that the market has no stake, or stakes another token.
	ReasonNoStake = "NoStake"
	// ReasonPoolRefused (Bonded) says that what stands on chain in the pool's place is not a pool.
	ReasonPoolRefused = "PoolRefused"
	// ReasonNothingPending (Clear) says that no slash is pending.
	ReasonNothingPending = "NothingPending"
	// ReasonSlashPending (Clear) says that a slash can still be appealed against.
	ReasonSlashPending = "SlashPending"
	// ReasonSlashAppealed (Clear, and a Slash's Succeeded) waits for the market's arbiter.
	ReasonSlashAppealed = "SlashAppealed"
	// ReasonRequirementMet (Covered) says that the effective stake is enough for the member's GPUs.
	ReasonRequirementMet = "RequirementMet"
	// ReasonStakeShort (Covered) says that the member's GPUs require more.
	ReasonStakeShort = "StakeShort"
)

// The condition of a Slash besides Succeeded.
const (
	// SlashOnChain is True once the proposal stands on chain.
	SlashOnChain = "Proposed"
)

// The reasons of a Slash's conditions.
const (
	// ReasonAwaitingProposal (Proposed, Succeeded) waits for the proposal to become final.
	ReasonAwaitingProposal = "AwaitingProposal"
	// ReasonAnotherPending (Proposed, Succeeded) waits until another slash of the same pool is over.
	ReasonAnotherPending = "AnotherPending"
	// ReasonCapReached (Proposed, Succeeded) waits until the market's cap for 30 days lets the pool be slashed again.
	ReasonCapReached = "CapReached"
	// ReasonCalmDay (Proposed, Succeeded) waits until a day has passed since the pool's last slash was executed or dropped.
	ReasonCalmDay = "CalmDay"
	// ReasonProposed (Proposed) says that the proposal stands on chain.
	ReasonProposed = "Proposed"
	// ReasonAppealWindow (Succeeded) waits for the end of the time for appeals.
	ReasonAppealWindow = "AppealWindow"
	// ReasonExecuting (Succeeded) waits for the execution to become final.
	ReasonExecuting = "Executing"
	// ReasonExecuted (Succeeded) says that the pool was slashed.
	ReasonExecuted = "Executed"
	// ReasonDropping (Succeeded) waits until the proposal is taken back.
	ReasonDropping = "Dropping"
	// ReasonDropped (Succeeded) says that the proposal was taken back, by the market or because the arbiter let it fall.
	ReasonDropped = "Dropped"
	// ReasonNoAuthority (Succeeded) says that this operator has no key of the market's authority.
	ReasonNoAuthority = "NoAuthority"
	// ReasonSlashRefused (Proposed, Succeeded) says that the slash cannot be proposed as it is; the message says why.
	ReasonSlashRefused = "SlashRefused"
)
