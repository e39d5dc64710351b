// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/rpc"
)

// maxDepth is how deep programs may call each other, with room to spare.
const maxDepth = 16

// ErrUnknown says that the node holds no such finalized transaction, which proves nothing about the chain.
var ErrUnknown = errors.New("node does not know the transaction")

// Signatures lists the finalized transactions that mention the address, newest first, back to but without until;
// a zero until means from the first. Failed ones are listed too.
func (c *Client) Signatures(ctx context.Context, address Address, until Signature) ([]SignatureInfo, error) {
	return c.signaturesSince(ctx, nil, address, until)
}

// signaturesSince is Signatures, refused by a node that has not reached the slot since.
func (c *Client) signaturesSince(ctx context.Context, since *uint64, address Address, until Signature) ([]SignatureInfo, error) {
	const method = "getSignaturesForAddress"
	var all []SignatureInfo
	var before Signature
	for len(all) < maxSignatures {
		limit := signaturesOnPage
		page, err := call(ctx, c, method, func(ctx context.Context) ([]*rpc.TransactionSignature, error) {
			return c.rpc.GetSignaturesForAddressWithOpts(ctx, address, &rpc.GetSignaturesForAddressOpts{
				Limit: &limit, Before: before, Until: until, Commitment: rpc.CommitmentFinalized, MinContextSlot: since,
			})
		})
		if err != nil {
			return nil, err
		}
		for _, entry := range page {
			if entry == nil {
				return nil, broken(method, errNoValue)
			}
			all = append(all, SignatureInfo{
				Signature: entry.Signature, Slot: entry.Slot, Time: clock(entry.BlockTime), Failed: readFailure(entry.Err) != nil,
			})
		}
		if len(page) < signaturesOnPage {
			return all, nil
		}
		before = page[len(page)-1].Signature
	}
	return nil, &Error{Method: method, Class: Stop, cause: errTooMany}
}

// Transaction reads one finalized transaction with everything that it executed, in order. Whatever strangers put into it, the
// result is well-formed or an error. A transaction that this node does not hold is ErrUnknown.
func (c *Client) Transaction(ctx context.Context, signature Signature) (Transaction, error) {
	const method = "getTransaction"
	newest := uint64(0)
	reply, err := call(ctx, c, method, func(ctx context.Context) (*rpc.GetTransactionResult, error) {
		found, err := c.rpc.GetTransaction(ctx, signature, &rpc.GetTransactionOpts{
			Encoding: solana.EncodingBase64, Commitment: rpc.CommitmentFinalized, MaxSupportedTransactionVersion: &newest,
		})
		if errors.Is(err, rpc.ErrNotFound) {
			return nil, nil //nolint:nilnil // absence is told from failure just below
		}
		return found, err
	})
	if err != nil {
		return Transaction{}, err
	}
	if reply == nil {
		return Transaction{}, broken(method, ErrUnknown)
	}
	if reply.Transaction == nil || reply.Meta == nil {
		return Transaction{}, broken(method, errNoValue)
	}
	transaction, err := readTransaction(signature, reply)
	if err != nil {
		return Transaction{}, broken(method, err)
	}
	return transaction, nil
}

// readTransaction turns the node's answer into a Transaction, resolving no index that was not checked.
func readTransaction(signature Signature, reply *rpc.GetTransactionResult) (Transaction, error) {
	parsed, signatures, _, err := decodeTransaction(reply.Transaction.GetBinary())
	if err != nil {
		return Transaction{}, err
	}
	if len(signatures) == 0 || signatures[0] != signature {
		return Transaction{}, errUnordered
	}
	loaded := reply.Meta.LoadedAddresses
	if len(loaded.Writable)+len(loaded.ReadOnly) != parsed.lookedUp() {
		return Transaction{}, fmt.Errorf("%w: %d loaded keys", ErrMalformed, len(loaded.Writable)+len(loaded.ReadOnly))
	}
	keys := slices.Concat(parsed.keys, []Address(loaded.Writable), []Address(loaded.ReadOnly))
	calls, err := readCalls(keys, parsed.instructions, reply.Meta.InnerInstructions)
	if err != nil {
		return Transaction{}, err
	}
	return Transaction{
		Signature: signature,
		Slot:      reply.Slot,
		Time:      clock(reply.BlockTime),
		Failure:   readFailure(reply.Meta.Err),
		Signers:   parsed.keys[:parsed.signers],
		Calls:     calls,
	}, nil
}

// readCalls puts the calls that programs made behind the instructions that made them.
func readCalls(keys []Address, instructions []compiled, inner []rpc.InnerInstruction) ([]Call, error) {
	made := make(map[int][]rpc.CompiledInstruction, len(inner))
	for _, group := range inner {
		index := int(group.Index)
		if _, twice := made[index]; twice || index >= len(instructions) {
			return nil, fmt.Errorf("%w: calls of instruction %d", ErrMalformed, index)
		}
		made[index] = group.Instructions
	}
	var calls []Call
	for i, instruction := range instructions {
		top, err := resolve(keys, instruction, 1)
		if err != nil {
			return nil, err
		}
		calls = append(calls, top)
		for _, entry := range made[i] {
			depth := int(entry.StackHeight)
			if depth < 2 || depth > maxDepth || depth > calls[len(calls)-1].Depth+1 {
				return nil, fmt.Errorf("%w: a call at depth %d below depth %d", ErrMalformed, depth, calls[len(calls)-1].Depth)
			}
			next, err := resolve(keys, flatten(entry), depth)
			if err != nil {
				return nil, err
			}
			calls = append(calls, next)
		}
	}
	return calls, nil
}

func flatten(entry rpc.CompiledInstruction) compiled {
	instruction := compiled{program: int(entry.ProgramIDIndex), data: entry.Data}
	for _, index := range entry.Accounts {
		instruction.accounts = append(instruction.accounts, int(index))
	}
	return instruction
}

// clock turns the chain's seconds into a time; an unknown one stays zero.
func clock(seconds *solana.UnixTimeSeconds) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	return time.Unix(int64(*seconds), 0).UTC()
}
