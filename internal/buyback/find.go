// SPDX-License-Identifier: Apache-2.0

package buyback

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// History is what of the finalized chain must be readable. Every method returns an error whenever it cannot tell.
type History interface {
	Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error)
	Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error)
}

// ErrNotFound says that no finalized transaction made the epoch's receipt, as far as the node remembers.
var ErrNotFound = errors.New("no transaction of the buy-back is known")

// Done is what an epoch's transaction did.
type Done struct {
	Signature chain.Signature
	Slot      uint64
	Time      time.Time
	Spent     money.Amount
	Burned    money.Amount
}

// Find returns what the epoch's transaction did. Anybody may mention the receipt's address, but only one transaction can have made it.
func (t Terms) Find(ctx context.Context, on History) (Done, error) {
	at, err := t.Places()
	if err != nil {
		return Done{}, err
	}
	infos, err := on.Signatures(ctx, at.Receipt, chain.Signature{})
	if err != nil {
		return Done{}, fmt.Errorf("list transactions of the receipt: %w", err)
	}
	for _, info := range slices.Backward(infos) { // the oldest first: it was made before it could be mentioned for long
		if info.Failed {
			continue
		}
		found, err := on.Transaction(ctx, info.Signature)
		if err != nil {
			return Done{}, fmt.Errorf("read transaction: %w", err)
		}
		if done, ok := t.read(at, found); ok {
			return done, nil
		}
	}
	return Done{}, fmt.Errorf("find buy-back of %s: %w", t.Epoch, ErrNotFound)
}

// read sums up what a transaction did, if it made the receipt.
func (t Terms) read(at Places, found chain.Transaction) (Done, bool) {
	done := Done{Signature: found.Signature, Slot: found.Slot, Time: found.Time}
	made := false
	for _, call := range found.Calls {
		made = made || found.Failure == nil && makes(call, at.Receipt)
		switch amount, kind := tokenAmount(call); {
		case kind == tokenBurnChecked && call.Accounts[0] == at.Into && call.Accounts[1] == t.Burned:
			done.Burned += amount
		case (kind == tokenTransfer || kind == tokenTransferChecked) && call.Accounts[0] == at.From:
			done.Spent += amount
		}
	}
	return done, made
}

func makes(call chain.Call, receipt chain.Address) bool {
	return call.Program == chain.SystemProgram && len(call.Accounts) > 0 && call.Accounts[0] == receipt &&
		len(call.Data) > 4 && binary.LittleEndian.Uint32(call.Data) == systemAllocateWithSeed
}

// tokenAmount reads the amount of a transfer or burn of the Token program, and its kind; zero for everything else.
func tokenAmount(call chain.Call) (money.Amount, byte) {
	const amountEnd = 9
	if call.Program != chain.TokenProgram || len(call.Data) < amountEnd || len(call.Accounts) < 3 {
		return 0, 0
	}
	return money.Amount(binary.LittleEndian.Uint64(call.Data[1:])), call.Data[0]
}
