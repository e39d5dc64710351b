// SPDX-License-Identifier: Apache-2.0

package buyback

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/oracle"
	"github.com/bourse-dev/bourse/internal/swap"
)

func at(n byte) chain.Address { return chain.Address{n, 9, 9, 9} }

func terms() Terms {
	return Terms{Treasury: at(1), Paid: at(2), Burned: at(3), Decimals: 8, Epoch: "usdc-2027-03-01"}
}

func places(t *testing.T) Places {
	t.Helper()
	found, err := terms().Places()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPlacesAreTheEpochsOwn(t *testing.T) {
	first := places(t)
	next := terms()
	next.Epoch = "usdc-2027-03-02"
	second, err := next.Places()
	if err != nil {
		t.Fatal(err)
	}
	if first.Receipt == second.Receipt || first.Into != second.Into || first.From != second.From {
		t.Errorf("places of two days: %+v and %+v", first, second)
	}
	other := terms()
	other.Burned = at(4)
	if third, err := other.Places(); err != nil || third.Into == first.Into {
		t.Errorf("another mint is bought into the same account: %v", err)
	}
	for _, epoch := range []string{"", strings.Repeat("x", maxSeed)} {
		if _, err := (Terms{Epoch: epoch, Burned: at(3)}).Places(); !errors.Is(err, ErrEpoch) {
			t.Errorf("epoch %q: err = %v, want %v", epoch, err, ErrEpoch)
		}
	}
}

func TestAPlanBurnsTheLeastAndWhatWasLeft(t *testing.T) {
	route := swap.Route{Amount: 10, Expected: 200, Least: 199, Instructions: []chain.Instruction{{Program: at(7)}}}
	plan, err := terms().Plan(route, oracle.Bound{Least: 198, Most: 202}, Holdings{Left: 5, Opened: true})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Spend != 10 || plan.Burn != 204 || plan.Least != 199 || plan.Most != 202 {
		t.Errorf("plan %+v", plan)
	}
	programs := []chain.Address{chain.SystemProgram, chain.SystemProgram, at(7), chain.TokenProgram, chain.MemoProgram}
	got := make([]chain.Address, 0, len(programs))
	for _, instruction := range plan.Instructions {
		got = append(got, instruction.Program)
	}
	if diff := cmp.Diff(programs, got); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
	first, err := terms().Plan(route, oracle.Bound{}, Holdings{})
	if err != nil || len(first.Instructions) != len(programs)+3 {
		t.Errorf("the first plan has %d instructions, %v", len(first.Instructions), err)
	}
	if _, err := terms().Plan(route, oracle.Bound{}, Holdings{Left: math.MaxUint64}); err == nil {
		t.Error("an amount beyond 64 bits was planned")
	}
}

func TestASimulationMustMatchThePlan(t *testing.T) {
	plan := Plan{Spend: 10, Burn: 204, Least: 199, Most: 202}
	before := Holdings{Paid: 50, Left: 5, Supply: 1_000, Lamports: 10_000_000}
	good := Holdings{Paid: 40, Left: 1, Supply: 796, Lamports: 9_000_000} // 200 arrived
	cases := map[string]struct {
		change func(*Holdings)
		want   error
	}{
		"as planned":                  {func(*Holdings) {}, nil},
		"the least arrives":           {func(h *Holdings) { h.Left = 0 }, nil},
		"the most arrives":            {func(h *Holdings) { h.Left = 3 }, nil},
		"lamports come back":          {func(h *Holdings) { h.Lamports = 20_000_000 }, nil},
		"less is taken":               {func(h *Holdings) { h.Paid = 41 }, ErrTakes},
		"more is taken":               {func(h *Holdings) { h.Paid = 39 }, ErrTakes},
		"something is given":          {func(h *Holdings) { h.Paid = 51 }, ErrTakes},
		"less is burned":              {func(h *Holdings) { h.Supply = 797 }, ErrBurns},
		"more is burned":              {func(h *Holdings) { h.Supply = 795 }, ErrBurns},
		"something is minted":         {func(h *Holdings) { h.Supply = 1_001 }, ErrBurns},
		"more than the most arrives":  {func(h *Holdings) { h.Left = 4 }, ErrYield},
		"it costs too many lamports":  {func(h *Holdings) { h.Lamports = before.Lamports - mostLamports() - 1 }, ErrCosts},
		"it costs as many as it may":  {func(h *Holdings) { h.Lamports = before.Lamports - mostLamports() }, nil},
		"an absurd balance is beyond": {func(h *Holdings) { h.Left = math.MaxUint64 }, ErrYield},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			after := good
			tc.change(&after)
			if err := plan.Check(before, after); !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
	short := Plan{Spend: 10, Burn: 203, Least: 199, Most: 202} // burns less than it must yield, so less could arrive
	if err := short.Check(before, Holdings{Paid: 40, Left: 0, Supply: 797, Lamports: 9_000_000}); !errors.Is(err, ErrYield) {
		t.Errorf("198 arrived: err = %v, want %v", err, ErrYield)
	}
}

func TestHoldingsAreTheTreasurysAlone(t *testing.T) {
	found := places(t)
	tokens := func(address, mint, owner chain.Address, amount uint64) chain.Account {
		data := make([]byte, chain.TokenAccountSize)
		copy(data, mint[:])
		copy(data[32:], owner[:])
		binary.LittleEndian.PutUint64(data[64:], amount)
		data[108] = 1
		return chain.Account{Address: address, Exists: true, Owner: chain.TokenProgram, Data: data}
	}
	mint := make([]byte, 82)
	binary.LittleEndian.PutUint64(mint[36:], 1_000)
	mint[44], mint[45] = 8, 1
	good := func() []chain.Account {
		return []chain.Account{
			tokens(found.From, at(2), at(1), 50), tokens(found.Into, at(3), at(1), 5),
			{Address: at(3), Exists: true, Owner: chain.TokenProgram, Data: mint},
			{Address: at(1), Exists: true, Lamports: 7},
			{Address: found.Receipt, Exists: true, Lamports: 1}, // somebody sent a lamport
		}
	}
	got, err := terms().ReadHoldings(good())
	if diff := cmp.Diff(Holdings{Paid: 50, Left: 5, Supply: 1_000, Lamports: 7, Opened: true}, got); diff != "" || err != nil {
		t.Errorf("err = %v; holdings (-want +got):\n%s", err, diff)
	}
	empty := good()
	empty[0], empty[1] = chain.Account{Address: found.From}, chain.Account{Address: found.Into}
	empty[4].Data = []byte{0}
	got, err = terms().ReadHoldings(empty)
	if diff := cmp.Diff(Holdings{Supply: 1_000, Lamports: 7, Done: true}, got); diff != "" || err != nil {
		t.Errorf("nothing there: err = %v; holdings (-want +got):\n%s", err, diff)
	}
	cases := map[string]struct {
		spoil func([]chain.Account)
		want  error
	}{
		"another owner's fees":     {func(a []chain.Account) { a[0] = tokens(found.From, at(2), at(9), 50) }, escrow.WrongOwner},
		"another mint's fees":      {func(a []chain.Account) { a[0] = tokens(found.From, at(9), at(1), 50) }, escrow.WrongTerms},
		"a delegate of the fees":   {func(a []chain.Account) { a[0].Data[72] = 1 }, escrow.WrongOwner},
		"frozen fees":              {func(a []chain.Account) { a[0].Data[108] = 2 }, escrow.Frozen},
		"a closer of what arrives": {func(a []chain.Account) { a[1].Data[129] = 1 }, escrow.WrongOwner},
		"another kind of mint":     {func(a []chain.Account) { a[2].Owner = chain.Token2022Program }, escrow.UnsafeExtension},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			accounts := good()
			tc.spoil(accounts)
			if _, err := terms().ReadHoldings(accounts); !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := terms().ReadHoldings(good()[:4]); err == nil {
		t.Error("four accounts were read as five")
	}
}

// history is a chain that remembers some transactions.
type history []chain.Transaction

func (h history) Signatures(context.Context, chain.Address, chain.Signature) ([]chain.SignatureInfo, error) {
	var infos []chain.SignatureInfo
	for _, one := range slices.Backward(h) {
		infos = append(infos, chain.SignatureInfo{Signature: one.Signature, Failed: one.Failure != nil && one.Slot > 0})
	}
	return infos, nil
}

func (h history) Transaction(_ context.Context, signature chain.Signature) (chain.Transaction, error) {
	for _, one := range h {
		if one.Signature == signature {
			return one, nil
		}
	}
	return chain.Transaction{}, chain.ErrUnknown
}

func TestFindBelievesOnlyWhoMadeTheReceipt(t *testing.T) {
	found := places(t)
	allocate := func(account chain.Address) chain.Call {
		return chain.Call{
			Program: chain.SystemProgram, Accounts: []chain.Address{account, at(1)},
			Data: append(binary.LittleEndian.AppendUint32(nil, systemAllocateWithSeed), 1), Depth: 1,
		}
	}
	moves := func(kind byte, amount uint64, from, to chain.Address) chain.Call {
		return chain.Call{
			Program: chain.TokenProgram, Accounts: []chain.Address{from, to, at(1)},
			Data: binary.LittleEndian.AppendUint64([]byte{kind}, amount), Depth: 2,
		}
	}
	made := chain.Transaction{Signature: chain.Signature{3}, Slot: 30, Calls: []chain.Call{
		allocate(found.Receipt), moves(tokenTransfer, 7, found.From, at(8)), moves(tokenTransferChecked, 3, found.From, at(2)),
		moves(tokenTransfer, 99, at(8), found.Into), moves(tokenBurnChecked, 204, found.Into, at(3)), moves(tokenBurnChecked, 55, at(8), at(3)),
	}}
	mention := chain.Transaction{Signature: chain.Signature{1}, Slot: 10, Calls: []chain.Call{moves(tokenTransfer, 1, at(8), found.Receipt)}}
	failed := made
	failed.Signature, failed.Failure = chain.Signature{2}, &chain.Failure{Kind: "InstructionError"}
	unlisted := failed // the list does not say that it failed
	unlisted.Signature, unlisted.Slot = chain.Signature{4}, 0
	other := chain.Transaction{Signature: chain.Signature{5}, Slot: 20, Calls: []chain.Call{allocate(at(8)), mention.Calls[0]}}
	done, err := terms().Find(t.Context(), history{mention, failed, unlisted, other, made, mention})
	if err != nil {
		t.Fatal(err)
	}
	want := Done{Signature: chain.Signature{3}, Slot: 30, Spent: 10, Burned: 204}
	if diff := cmp.Diff(want, done); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	if _, err := terms().Find(t.Context(), history{mention, failed}); !errors.Is(err, ErrNotFound) {
		t.Errorf("err = %v, want %v", err, ErrNotFound)
	}
}
