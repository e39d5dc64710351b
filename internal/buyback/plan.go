// SPDX-License-Identifier: Apache-2.0

package buyback

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/oracle"
	"github.com/bourse-dev/bourse/internal/swap"
)

// Instructions of the System and Token programs.
const (
	systemTransfer         = 2
	systemAllocateWithSeed = 9
	tokenTransfer          = 3
	tokenTransferChecked   = 12
	tokenBurnChecked       = 15
	tokenInitialize        = 18
)

// receiptSize is one byte, so that a receipt is told from an address that somebody sent lamports to.
const receiptSize = 1

// mostFees is what one buy-back may cost the treasury besides rent, in lamports.
const mostFees = 100_000

// mostLamports is what it may cost in all: its receipt, the account that swaps pay into, two more that a route may need, and fees.
func mostLamports() uint64 {
	return 3*chain.Rent(chain.TokenAccountSize) + chain.Rent(receiptSize) + mostFees
}

// What a simulation may show that must not be signed.
var (
	ErrTakes = errors.New("the swap would take another amount than was asked")
	ErrYield = errors.New("the swap would not yield what the oracle's price says")
	ErrBurns = errors.New("another amount than the planned one would be burned")
	ErrCosts = errors.New("the swap would cost the treasury too many lamports")
)

// Plan is one transaction: swap, burn, receipt.
type Plan struct {
	Spend        money.Amount // what the swap takes
	Burn         money.Amount // what is burned: the least that the swap must yield, and what earlier swaps left
	Least, Most  money.Amount // what the swap must yield
	Instructions []chain.Instruction
}

// Plan puts an approved route between the receipt and the burn. The burn is of the least that the route promises, whatever its programs
// do: if less arrives, the whole transaction fails on the chain.
func (t Terms) Plan(route swap.Route, bound oracle.Bound, held Holdings) (Plan, error) {
	at, err := t.Places()
	if err != nil {
		return Plan{}, err
	}
	burn, err := route.Least.Add(held.Left)
	if err != nil {
		return Plan{}, fmt.Errorf("plan buy-back of %s: %w", t.Epoch, err)
	}
	plan := Plan{Spend: route.Amount, Burn: burn, Least: route.Least, Most: bound.Most}
	if !held.Opened {
		plan.Instructions = append(t.allocate(at.Into, t.intoSeed(), chain.TokenAccountSize, chain.TokenProgram), chain.Instruction{
			Program:  chain.TokenProgram,
			Accounts: []chain.Meta{{Address: at.Into, Writable: true}, {Address: t.Burned}},
			Data:     append([]byte{tokenInitialize}, t.Treasury[:]...),
		})
	}
	plan.Instructions = append(plan.Instructions, t.allocate(at.Receipt, t.receiptSeed(), receiptSize, chain.SystemProgram)...)
	plan.Instructions = append(plan.Instructions, route.Instructions...)
	plan.Instructions = append(plan.Instructions, chain.Instruction{
		Program: chain.TokenProgram,
		Accounts: []chain.Meta{
			{Address: at.Into, Writable: true}, {Address: t.Burned, Writable: true}, {Address: t.Treasury, Signer: true},
		},
		Data: append(binary.LittleEndian.AppendUint64([]byte{tokenBurnChecked}, uint64(burn)), t.Decimals),
	}, chain.Instruction{Program: chain.MemoProgram, Data: []byte(memoPrefix + t.Epoch)})
	return plan, nil
}

// allocate pays an account's rent and makes it. Lamports that somebody sent there before do no harm; a second time, the chain refuses it.
func (t Terms) allocate(account chain.Address, seed string, size uint64, owner chain.Address) []chain.Instruction {
	pay := binary.LittleEndian.AppendUint32(nil, systemTransfer)
	pay = binary.LittleEndian.AppendUint64(pay, chain.Rent(size))
	data := append(binary.LittleEndian.AppendUint32(nil, systemAllocateWithSeed), t.Treasury[:]...)
	data = append(binary.LittleEndian.AppendUint64(data, uint64(len(seed))), seed...)
	data = append(binary.LittleEndian.AppendUint64(data, size), owner[:]...)
	return []chain.Instruction{
		{
			Program:  chain.SystemProgram,
			Accounts: []chain.Meta{{Address: t.Treasury, Signer: true, Writable: true}, {Address: account, Writable: true}},
			Data:     pay,
		},
		{
			Program:  chain.SystemProgram,
			Accounts: []chain.Meta{{Address: account, Writable: true}, {Address: t.Treasury, Signer: true}},
			Data:     data,
		},
	}
}

// Check compares what was there with what a simulation says would be: exactly the planned amounts move, and nothing else.
func (p Plan) Check(before, after Holdings) error {
	if after.Paid > before.Paid || before.Paid-after.Paid != p.Spend {
		return fmt.Errorf("%w: %s of the treasury's %s would be left", ErrTakes, after.Paid, before.Paid)
	}
	if after.Supply > before.Supply || before.Supply-after.Supply != p.Burn {
		return fmt.Errorf("%w: the supply would go from %s to %s", ErrBurns, before.Supply, after.Supply)
	}
	// What arrives is what is left and what was burned, without what was there before.
	arrived, err := after.Left.Add(p.Burn)
	if err == nil {
		arrived, err = arrived.Sub(before.Left)
	}
	if err != nil || arrived < p.Least || arrived > p.Most {
		return fmt.Errorf("%w: %s would arrive", ErrYield, arrived)
	}
	if after.Lamports < before.Lamports && before.Lamports-after.Lamports > mostLamports() {
		return fmt.Errorf("%w: %d", ErrCosts, before.Lamports-after.Lamports)
	}
	return nil
}
