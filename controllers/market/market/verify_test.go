// SPDX-License-Identifier: Apache-2.0

package market

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

// mintData is a mint of the classic Token program.
func mintData(decimals byte, freezable bool) []byte {
	data := make([]byte, 82)
	data[44], data[45] = decimals, 1
	if freezable {
		data[46] = 1
	}
	return data
}

// newBench returns a controller whose chain and market agree.
func newBench(t *testing.T, change func(*boursev1.Market, *chaintest.Fake)) (*fakehub.Hub, *chaintest.Fake, *Reconciler) {
	t.Helper()
	on := chaintest.New(0, 1)
	genesis, err := on.GenesisHash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	market := builders.Market()
	market.Status.Conditions = nil
	market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	on.Set(chain.Account{Address: builders.Wallet("program").PublicKey(), Executable: true, Lamports: 1})
	on.Set(chain.Account{
		Address: builders.Wallet("mint of IO").PublicKey(), Owner: chain.TokenProgram, Lamports: 1, Data: mintData(8, false),
	})
	on.Set(chain.Account{
		Address: builders.Wallet("mint of USDC").PublicKey(), Owner: chain.TokenProgram, Lamports: 1, Data: mintData(6, true),
	})
	if err := fakeprogram.Configure(on, builders.Config()); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(market, on)
	}
	on.Tick(2)
	hub := fakehub.New(t, nil, market)
	return hub, on, &Reconciler{Teller: hub.Teller(), Hub: hub, Chain: on, Now: hub.Now}
}

func pass(t *testing.T, hub *fakehub.Hub, r *Reconciler) *metav1.Condition {
	t.Helper()
	market := builders.Market()
	hub.Read(market)
	result, err := r.Reconcile(t.Context(), market)
	if err != nil {
		t.Fatal(err)
	}
	if result.RequeueAfter == 0 {
		t.Error("the chain is never looked at again")
	}
	hub.Read(market)
	return meta.FindStatusCondition(market.Status.Conditions, boursev1.Ready)
}

var disagreements = map[string]struct {
	change  func(*boursev1.Market, *chaintest.Fake)
	status  metav1.ConditionStatus
	reason  string
	message string
}{
	"a market that agrees with the chain": {
		status: metav1.ConditionTrue, reason: boursev1.ReasonVerified, message: "The program, its configuration and every mint",
	},
	"another chain": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.GenesisHash = builders.Address("x") },
		status: metav1.ConditionFalse, reason: boursev1.ReasonWrongChain, message: "The chain's genesis hash is",
	},
	"no program": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.ProgramID = builders.Address("x") },
		status: metav1.ConditionFalse, reason: boursev1.ReasonNoProgram, message: "No executable program",
	},
	"a program that is only data": {
		change: func(_ *boursev1.Market, on *chaintest.Fake) {
			on.Set(chain.Account{Address: builders.Wallet("program").PublicKey(), Lamports: 1})
		},
		status: metav1.ConditionFalse, reason: boursev1.ReasonNoProgram, message: "No executable program",
	},
	"a treasury that is no address": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Treasury = "11111111111111111111111111111111111" },
		status: metav1.ConditionFalse, reason: boursev1.ReasonTreasuryInvalid, message: "The treasury",
	},
	"no configuration": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Authority = builders.Address("x") },
		status: metav1.ConditionFalse, reason: boursev1.ReasonNoConfig, message: "spec.authority has no usable configuration on chain (no configuration at",
	},
	"an authority that is no address": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Authority = "11111111111111111111111111111111111" },
		status: metav1.ConditionFalse, reason: boursev1.ReasonNoConfig, message: "spec.authority is not",
	},
	"a market without arbitration": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Arbitration = nil },
		status: metav1.ConditionTrue, reason: boursev1.ReasonVerified, message: "The program",
	},
	"another treasury than the configuration's": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Treasury = builders.Address("x") },
		status: metav1.ConditionFalse, reason: boursev1.ReasonConfigDisagrees, message: "set " + string(builders.Address("treasury")) + " there",
	},
	"a supplier's fee beyond the configuration": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { *m.Spec.Fees.SupplierBps = 26 },
		status: metav1.ConditionFalse, reason: boursev1.ReasonConfigDisagrees, message: "spec.fees.supplierBps exceed what the configuration on chain allows: set 25 or less",
	},
	"a buyer's fee and facilitation beyond the configuration": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { *m.Spec.Fees.BuyerBps = 26 },
		status: metav1.ConditionFalse, reason: boursev1.ReasonConfigDisagrees, message: "spec.fees.buyerBps and facilitationBps of USDC together exceed",
	},
	"another arbiter than the configuration's": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Arbitration.Arbiter = builders.Address("x") },
		status: metav1.ConditionFalse, reason: boursev1.ReasonConfigDisagrees, message: "spec.arbitration.arbiter is not",
	},
	"an arbiter's cap beyond the configuration": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Arbitration.CapBps = 2_001 },
		status: metav1.ConditionFalse, reason: boursev1.ReasonConfigDisagrees, message: "spec.arbitration.capBps exceed what the configuration on chain allows: set 2000",
	},
	"a dispute's delay below the configuration": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Arbitration.DelaySeconds = 1_799 },
		status: metav1.ConditionFalse, reason: boursev1.ReasonConfigDisagrees, message: "spec.arbitration.delaySeconds is below what the configuration on chain allows: set 1800 or more",
	},
	"a mint that is not there": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Tokens[0].Mint = builders.Address("x") },
		status: metav1.ConditionFalse, reason: boursev1.ReasonMintRefused, message: "IO is refused: no mint at",
	},
	"other decimals": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { *m.Spec.Tokens[0].Decimals = 9 },
		status: metav1.ConditionFalse, reason: boursev1.ReasonMintRefused, message: "has 8 decimals instead of 9",
	},
	"a freeze authority that was not accepted": {
		change: func(m *boursev1.Market, _ *chaintest.Fake) { m.Spec.Tokens[1].FreezeAuthority = boursev1.FreezeRefuse },
		status: metav1.ConditionFalse, reason: boursev1.ReasonMintRefused, message: "can freeze accounts",
	},
	"a chain that cannot be asked": {
		change: func(_ *boursev1.Market, on *chaintest.Fake) {
			on.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
		},
		status: metav1.ConditionUnknown, reason: boursev1.ReasonChainUnreachable, message: "could not be asked",
	},
}

func TestVerify(t *testing.T) {
	for name, tc := range disagreements {
		t.Run(name, func(t *testing.T) {
			hub, _, r := newBench(t, tc.change)
			got := pass(t, hub, r)
			if got == nil || got.Status != tc.status || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) {
				t.Errorf("Ready is %+v, want %s/%s with %q", got, tc.status, tc.reason, tc.message)
			}
			if wrote := hub.Writes(func() { pass(t, hub, r) }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestAnUnreachableChainChangesNothingThatIsKnown(t *testing.T) {
	hub, on, r := newBench(t, nil)
	pass(t, hub, r)
	on.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	if wrote := hub.Writes(func() { pass(t, hub, r) }); len(wrote) != 0 {
		t.Errorf("the pass wrote %v", wrote)
	}
}
