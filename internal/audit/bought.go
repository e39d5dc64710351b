// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Instructions of the Token program that move or burn tokens. All of them name the amount first, and who takes it from which account.
const (
	tokenTransfer        = 3
	tokenBurn            = 8
	tokenTransferChecked = 12
	tokenBurnChecked     = 15
)

// bought holds a buy-back against its transaction: what its payer spent of the fees, and what it burned.
func (a *auditor) bought(ctx context.Context, burn *boursev1.FeeBurn, line *BurnLine) error {
	back := burn.Status.BuyBack
	if back == nil || back.Spent == nil && back.Burned == nil {
		return nil // nothing is said to have happened yet
	}
	if other := a.sharing(burn); other != nil {
		return &Mismatch{named(burn), "status.buyBack.transaction.signature", "a transaction of its own", "that of " + named(other)}
	}
	spent, burned, err := a.swapped(ctx, burn)
	if err != nil {
		return err
	}
	if units(back.Spent) != spent {
		return &Mismatch{named(burn), "status.buyBack.spent", spent.String(), number(back.Spent)}
	}
	if units(back.Burned) != burned {
		return &Mismatch{named(burn), "status.buyBack.burned", burned.String(), number(back.Burned)}
	}
	if burn.Status.Fees == nil || units(burn.Status.Fees) < spent {
		return &Mismatch{named(burn), "status.fees", "at least " + spent.String() + ", which was spent", number(burn.Status.Fees)}
	}
	line.Bought = burned.String() + " " + string(back.Token)
	return nil
}

// sharing returns another record that claims the same transaction, if there is one.
func (a *auditor) sharing(burn *boursev1.FeeBurn) *boursev1.FeeBurn {
	signature := burn.Status.BuyBack.Transaction.Signature
	for i := range a.records.FeeBurns {
		other := &a.records.FeeBurns[i]
		if other != burn && other.Status.BuyBack != nil && other.Status.BuyBack.Transaction.Signature == signature {
			return other
		}
	}
	return nil
}

// swapped reads what the transaction of a buy-back did.
func (a *auditor) swapped(ctx context.Context, burn *boursev1.FeeBurn) (spent, burned money.Amount, err error) {
	back := burn.Status.BuyBack
	mint, err := chain.ParseAddress(string(back.Mint))
	if err != nil {
		return 0, 0, &Mismatch{named(burn), "status.buyBack.mint", "an address", string(back.Mint)}
	}
	fees, err := chain.ParseAddress(string(burn.Spec.Mint))
	if err != nil {
		return 0, 0, &Mismatch{named(burn), "spec.mint", "an address", string(burn.Spec.Mint)}
	}
	signature, err := chain.ParseSignature(string(back.Transaction.Signature))
	if err != nil {
		return 0, 0, &Mismatch{named(burn), "status.buyBack.transaction.signature", "a signature", string(back.Transaction.Signature)}
	}
	transaction, err := a.chain.Transaction(ctx, signature)
	if err != nil {
		return 0, 0, fmt.Errorf("read buy-back of %s: %w", burn.Name, err)
	}
	if transaction.Failure != nil || len(transaction.Signers) == 0 {
		return 0, 0, &Mismatch{named(burn), "status.buyBack.transaction.signature", "a transaction that succeeded", "one that failed"}
	}
	return paidAndBurned(transaction, fees, mint)
}

// paidAndBurned sums up what the transaction's payer spent from its account of one mint, and burned of the other, at whatever depth.
func paidAndBurned(transaction chain.Transaction, fees, mint chain.Address) (spent, burned money.Amount, err error) {
	payer := transaction.Signers[0]
	from, err := chain.TokenAddress(payer, fees)
	if err != nil {
		return 0, 0, fmt.Errorf("derive the payer's account: %w", err)
	}
	for _, call := range transaction.Calls {
		op, amount, ok := tokenCall(call)
		if !ok {
			continue
		}
		var spends, burns error
		switch {
		case (op == tokenTransfer || op == tokenTransferChecked) && call.Accounts[0] == from:
			spent, spends = spent.Add(amount)
		case (op == tokenBurn || op == tokenBurnChecked) && call.Accounts[1] == mint && call.Accounts[2] == payer:
			burned, burns = burned.Add(amount)
		}
		if err := errors.Join(spends, burns); err != nil {
			return 0, 0, fmt.Errorf("sum transaction %s: %w", transaction.Signature, err)
		}
	}
	return spent, burned, nil
}

// tokenCall reads a call of the Token program that has an amount and three accounts at least.
func tokenCall(call chain.Call) (op byte, amount money.Amount, ok bool) {
	const size = 9
	if call.Program != chain.TokenProgram || len(call.Data) < size || len(call.Accounts) < 3 {
		return 0, 0, false
	}
	return call.Data[0], money.Amount(binary.LittleEndian.Uint64(call.Data[1:size])), true
}
