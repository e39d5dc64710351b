// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
)

// History is what is read of the finalized past. It returns an error whenever it cannot tell.
type History interface {
	Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error)
	Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error)
}

// Fate is what became of a slash.
type Fate string

// The fates.
const (
	FateNone     Fate = ""         // it was never proposed
	FatePending  Fate = "Pending"  // it was proposed, and is neither executed nor dropped
	FateExecuted Fate = "Executed" // it was burned
	FateDropped  Fate = "Dropped"  // it was taken back
)

// Trace reads from the pool's finalized transactions since a time what became of the slash with the evidence, whoever sent them. It is
// the receipt that no record outside the chain can lose. A pool has one slash at a time, so what ends one after it was proposed ends it.
func Trace(ctx context.Context, on History, p Pool, evidence Evidence, since time.Time) (Fate, error) {
	pool, err := p.Account()
	if err != nil {
		return FateNone, err
	}
	infos, err := on.Signatures(ctx, pool, chain.Signature{})
	if err != nil {
		return FateNone, fmt.Errorf("trace slash: %w", err)
	}
	fate := FateNone
	for _, info := range slices.Backward(infos) { // the oldest first
		if info.Failed || !info.Time.IsZero() && info.Time.Before(since) {
			continue
		}
		transaction, err := on.Transaction(ctx, info.Signature)
		if err != nil {
			return FateNone, fmt.Errorf("trace slash: %w", err)
		}
		for _, call := range transaction.Calls {
			fate = after(fate, p.Program, pool, evidence, call)
		}
	}
	return fate, nil
}

// after is the fate once a call was executed.
func after(fate Fate, program, pool chain.Address, evidence Evidence, call chain.Call) Fate {
	if call.Program != program || len(call.Data) == 0 {
		return fate
	}
	found, _ := formOf(call.Data[0])
	addresses, ok := found.Read(call)
	if !ok || !slices.Contains(addresses, pool) { // no account of a slash's instructions but the pool's own can be the pool
		return fate
	}
	op, pending := call.Data[0], fate == FatePending
	switch {
	case op == opProposeSlash && bytes.Equal(call.Data[len(call.Data)-len(evidence):], evidence[:]):
		return FatePending
	case op == opExecuteSlash && pending:
		return FateExecuted
	case op == opDropSlash && pending:
		return FateDropped
	default:
		return fate
	}
}
