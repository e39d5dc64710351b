// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"encoding/binary"
	"strings"
	"testing"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/audit"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/escrowhistory"
)

// token is a call of the Token program that moves an amount, at some depth of a swap.
func token(op byte, amount uint64, accounts ...chain.Address) chain.Call {
	data := binary.LittleEndian.AppendUint64([]byte{op}, amount)
	return chain.Call{Program: chain.TokenProgram, Data: data, Accounts: accounts, Depth: 2}
}

// swapped is a world whose claims burned nothing: the treasury spent 3 900 000 of its 4 000 000 of fees on 70 of another token.
func swapped(t *testing.T) (*escrowhistory.History, audit.Records) {
	t.Helper()
	_, records := world(t)
	lease := &records.Leases[0]
	lease.Spec.Payment.BurnBps = new(int32(0))
	on := escrowhistory.New(t, lease)
	on.Open()
	on.Claim(400_000_000)
	on.Claim(800_000_000)
	on.Close()
	for i := range records.Settlements {
		spec := &records.Settlements[i].Spec
		spec.TreasuryPaid, spec.Burned = spec.Burned, new(int64(0))
	}
	treasury, other := builders.Wallet("treasury").PublicKey(), builders.Wallet("pool").PublicKey()
	paid, bought := builders.Wallet("mint of IO").PublicKey(), builders.Wallet("mint of another").PublicKey()
	from, err := chain.TokenAddress(treasury, paid)
	if err != nil {
		t.Fatal(err)
	}
	into := builders.Wallet("into").PublicKey()
	signature := chain.Signature{99}
	on.Landed = append(on.Landed, chain.Transaction{
		Signature: signature, Slot: 99, Time: builders.Start, Signers: []chain.Address{treasury}, Calls: []chain.Call{
			token(12, 3_900_000, from, paid, other, treasury),
			token(3, 75, other, into, other),
			token(12, 1, other, paid, from, other), // somebody else's
			token(15, 70, into, bought, treasury),
			token(15, 7, other, paid, other), // another mint, of somebody else
		},
	})
	records.FeeBurns[0].Status = boursev1.FeeBurnStatus{
		Claims: new(int32(2)), Burned: new(int64(0)), Fees: new(int64(4_000_000)), Amount: "0.00000070 X",
		BuyBack: &boursev1.FeeBurnBuyBack{
			Token: "X", Mint: boursev1.SolanaAddress(bought.String()), Spend: new(int64(3_900_000)), Burn: new(int64(70)),
			Spent: new(int64(3_900_000)), Burned: new(int64(70)), Transaction: boursev1.Transaction{Signature: boursev1.SolanaSignature(signature.String())},
		},
	}
	return on, records
}

func TestABuyBackThatAgrees(t *testing.T) {
	on, records := swapped(t)
	report, err := audit.Run(t.Context(), on, records, later)
	if err != nil || report.Burns[0].Bought != "70 X" || report.Burns[0].Treasury != 4_000_000 {
		t.Errorf("%+v, %v", report, err)
	}
	records.FeeBurns[0].Status.BuyBack.Spent, records.FeeBurns[0].Status.BuyBack.Burned = nil, nil
	records.FeeBurns[0].Status.Amount = "0.00 IO" // what claims burned
	if _, err := audit.Run(t.Context(), on, records, later); err != nil {
		t.Errorf("one that is still on its way: %v", err)
	}
}

func TestABuyBackThatDoesNotAgree(t *testing.T) {
	cases := map[string]struct {
		edit  func(*escrowhistory.History, *boursev1.FeeBurnStatus)
		field string
	}{
		"spent less than recorded":  {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { *s.BuyBack.Spent++ }, "status.buyBack.spent"},
		"burned less than recorded": {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { *s.BuyBack.Burned++ }, "status.buyBack.burned"},
		"no record of the burn":     {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { s.BuyBack.Burned = nil }, "status.buyBack.burned"},
		"other fees":                {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { *s.Fees-- }, "status.fees"},
		"no fees":                   {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { s.Fees, s.Claims = nil, new(int32(0)) }, "status.fees"},
		"another mint":              {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { s.BuyBack.Mint = builders.Address("x") }, "status.buyBack.burned"},
		"no mint":                   {func(_ *escrowhistory.History, s *boursev1.FeeBurnStatus) { s.BuyBack.Mint = "x" }, "status.buyBack.mint"},
		"a claim's transaction": {func(on *escrowhistory.History, s *boursev1.FeeBurnStatus) {
			s.BuyBack.Transaction.Signature = boursev1.SolanaSignature(on.Landed[1].Signature.String())
		}, "status.buyBack.transaction.signature"},
		"a transaction that failed": {func(on *escrowhistory.History, _ *boursev1.FeeBurnStatus) {
			on.Landed[len(on.Landed)-1].Failure = &chain.Failure{Kind: "InstructionError"}
		}, "status.buyBack.transaction.signature"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			on, records := swapped(t)
			tc.edit(on, &records.FeeBurns[0].Status)
			if wrong := mismatch(t, on, records); wrong.Field != tc.field {
				t.Errorf("got %+v, want %s", wrong, tc.field)
			}
		})
	}
}

func TestOneTransactionIsOneBuyBack(t *testing.T) {
	on, records := swapped(t)
	second := *records.FeeBurns[0].DeepCopy()
	second.Name, second.Spec.From = "io-2027-03-02", second.Spec.To
	second.Spec.To.Time = second.Spec.To.AddDate(0, 0, 1)
	second.Status.Fees, second.Status.Claims = nil, nil
	records.FeeBurns = append(records.FeeBurns, second)
	if wrong := mismatch(t, on, records); wrong.Field != "status.buyBack.transaction.signature" || !strings.Contains(wrong.Found, "io-2027-03-02") {
		t.Errorf("got %+v", wrong)
	}
}
