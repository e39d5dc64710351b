// SPDX-License-Identifier: Apache-2.0

// Package builders makes API objects for tests: each is complete and valid, and a test changes what it is about.
package builders

import (
	"crypto/sha256"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Start is when tests begin.
var Start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// The namespaces of the two members that tests know.
const (
	Buyer    = "team-a"
	Supplier = "oslo-dc"
)

// Wallet returns the wallet of a name: always the same one.
func Wallet(name string) *signer.Keypair {
	return signer.FromSeed(sha256.Sum256([]byte("wallet of " + name)))
}

// Address returns the address of a name's wallet.
func Address(name string) boursev1.SolanaAddress {
	return boursev1.SolanaAddress(Wallet(name).PublicKey().String())
}

// Condition returns a condition as it was set at the start.
func Condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: reason, LastTransitionTime: metav1.NewTime(Start), ObservedGeneration: 1,
	}
}

// Config is the configuration that Market's authority has on chain.
func Config() escrow.Config {
	return escrow.Config{
		Program: Wallet("program").PublicKey(), Authority: Wallet("authority").PublicKey(), Mint: Wallet("mint of IO").PublicKey(),
		Delay: 24 * time.Hour, Terms: escrow.ConfigTerms{
			Treasury: Wallet("treasury").PublicKey(), Arbiter: Wallet("arbiter").PublicKey(),
			MaxBuyerFeeBps: 225, MaxSupplierFeeBps: 25, MaxArbiterCapBps: 2_000, MinDisputeDelay: 30 * time.Minute,
			MaxSlashBps: 1_000, MaxDelegationBps: 10_000, SlashWindow: 48 * time.Hour, SlashHold: 72 * time.Hour, Cooldown: 14 * 24 * time.Hour,
		},
	}
}

// Market returns a market that is ready and takes IO, which it burns, and USDC, which costs the buyer 2 % more. Both cost 1 USD.
func Market() *boursev1.Market {
	return &boursev1.Market{
		ObjectMeta: metav1.ObjectMeta{Name: "main", UID: "market-uid", Generation: 1},
		Spec: boursev1.MarketSpec{
			ProgramID: Address("program"), GenesisHash: Address("genesis"), Treasury: Address("treasury"),
			Authority:   Address("authority"),
			Arbitration: &boursev1.MarketArbitration{Arbiter: Address("arbiter"), CapBps: 2_000, DelaySeconds: 1_800},
			Fees:        boursev1.MarketFees{BuyerBps: new(int32(25)), SupplierBps: new(int32(25))},
			Tokens: []boursev1.MarketToken{
				{
					Symbol: "IO", Mint: Address("mint of IO"), Decimals: new(int32(8)), PriceUSD: "1", FacilitationBps: new(int32(0)),
					BurnBps: new(int32(10_000)), FreezeAuthority: boursev1.FreezeRefuse,
				},
				{
					Symbol: "USDC", Mint: Address("mint of USDC"), Decimals: new(int32(6)), PriceUSD: "1", FacilitationBps: new(int32(200)),
					BurnBps: new(int32(0)), FreezeAuthority: boursev1.FreezeAccept,
				},
			},
			Settlement: boursev1.MarketSettlement{PeriodSeconds: 60, GraceSeconds: 3600},
		},
		Status: boursev1.MarketStatus{Conditions: []metav1.Condition{Condition(boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonVerified)}},
	}
}

// Member returns the admitted member of a namespace.
func Member(namespace string) *boursev1.Member {
	return &boursev1.Member{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: boursev1.MemberName, CreationTimestamp: metav1.NewTime(Start), Generation: 1},
		Spec:       boursev1.MemberSpec{Wallet: Address(namespace)},
		Status: boursev1.MemberStatus{
			Conditions: []metav1.Condition{Condition(boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonAdmitted)},
		},
	}
}

// Offer returns a supplier's offer of two nodes with 8 free h100 each, for 1.85 USD, valid for five minutes.
func Offer(namespace, name string) *boursev1.GPUOffer {
	return &boursev1.GPUOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1},
		Spec: boursev1.GPUOfferSpec{
			Pool: "pool", Model: "h100", MemoryMiB: 81920, Sharing: boursev1.SharingNone, PriceUSD: "1.85",
			Tokens: []boursev1.TokenSymbol{"IO", "USDC"}, Region: "eu-north",
			Terms: boursev1.PoolTerms{
				Tiers: []boursev1.Tier{boursev1.TierInterruptible}, Isolation: boursev1.IsolationContainer, Egress: boursev1.EgressNone,
				MinDurationSeconds: 60, MaxDurationSeconds: 86400, NoticeSeconds: 30,
			},
			FreeGPUs: new(int32(16)), Shapes: []boursev1.NodeShape{{FreeGPUs: 8, Nodes: 2}},
			ValidUntil: metav1.NewTime(Start.Add(5 * time.Minute)),
		},
		Status: boursev1.GPUOfferStatus{Conditions: []metav1.Condition{Condition(boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonValid)}},
	}
}

// Job returns a buyer's job for one hour of two workers with 4 h100 each, paid in IO, that has not been looked at yet.
func Job(name string) *boursev1.ComputeJob {
	return &boursev1.ComputeJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: Buyer, Name: name, UID: types.UID("uid-of-" + name), Generation: 1},
		Spec: boursev1.ComputeJobSpec{
			GPUs: boursev1.GPURequest{Models: []boursev1.GPUModel{"h100"}, Workers: 2, PerWorker: 4},
			Bid:  boursev1.Bid{Token: "IO", MaxPriceUSD: "2", BudgetUSD: "20"},
			Placement: boursev1.Placement{
				Isolation: boursev1.IsolationContainer, Tier: boursev1.TierInterruptible, Egress: boursev1.EgressNone,
			},
			DurationSeconds: 3600,
			Ray:             boursev1.RayProgram{Image: "ray:2.52.0", Version: "2.52.0"},
		},
	}
}

// Hash returns 32 bytes of a name in hexadecimal.
func Hash(name string) string {
	const digits = "0123456789abcdef"
	var text strings.Builder
	for _, b := range sha256.Sum256([]byte(name)) {
		text.WriteByte(digits[b>>4])
		text.WriteByte(digits[b&0xf])
	}
	return text.String()
}
