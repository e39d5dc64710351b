// SPDX-License-Identifier: Apache-2.0

package buyback

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/oracle"
	"github.com/bourse-dev/bourse/internal/swap"
)

// ErrMessage says that a message is no buy-back as Plan makes it, so that nobody should sign it.
var ErrMessage = errors.New("message is no buy-back")

const memoPrefix = "Bourse buy-back "

// afterRoute is how many instructions follow the route: the burn and the memo.
const afterRoute = 2

// ReadMessage says whose buy-back of which epoch a message is. It knows all that a Plan adds to a route, to the last byte, and of the route
// that it calls no program that may never be called; what the route takes, only a simulation tells.
func ReadMessage(message []byte) (Terms, error) {
	envelope, err := chain.NewEnvelope(message)
	if err != nil {
		return Terms{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if signers := envelope.Signers(); len(signers) != 1 {
		return Terms{}, fmt.Errorf("%w: it has %d signers", ErrMessage, len(signers))
	}
	spelled := envelope.Spelled()
	if len(spelled) < afterRoute+1 {
		return Terms{}, fmt.Errorf("%w: it has %d instructions", ErrMessage, len(spelled))
	}
	tail := spelled[len(spelled)-afterRoute:]
	terms, burn, err := readTail(envelope.Signers()[0], tail)
	if err != nil {
		return Terms{}, err
	}
	for _, opened := range []bool{true, false} {
		if route, ok := terms.routeOf(spelled, burn, opened); ok {
			return terms, checkRoute(route)
		}
	}
	return Terms{}, fmt.Errorf("%w: it does not begin with the epoch's receipt", ErrMessage)
}

// readTail reads the burn and the memo, which say what the rest must be.
func readTail(treasury chain.Address, tail []chain.Instruction) (Terms, money.Amount, error) {
	const burnSize, accounts = 10, 3
	burn, memo := tail[0], tail[1]
	epoch, ok := strings.CutPrefix(string(memo.Data), memoPrefix)
	if !ok || memo.Program != chain.MemoProgram || len(burn.Data) != burnSize || len(burn.Accounts) != accounts {
		return Terms{}, 0, fmt.Errorf("%w: it does not end with a burn and its memo", ErrMessage)
	}
	terms := Terms{Treasury: treasury, Burned: burn.Accounts[1].Address, Decimals: burn.Data[burnSize-1], Epoch: epoch}
	return terms, money.Amount(binary.LittleEndian.Uint64(burn.Data[1:])), nil
}

// routeOf returns what is between the parts that a Plan adds, if these are exactly those of the terms.
func (t Terms) routeOf(spelled []chain.Instruction, burn money.Amount, opened bool) ([]chain.Instruction, bool) {
	plan, err := t.Plan(swap.Route{Least: burn}, oracle.Bound{}, Holdings{Opened: opened})
	if err != nil {
		return nil, false
	}
	head := append([]chain.Instruction{spelled[0]}, plan.Instructions[:len(plan.Instructions)-afterRoute]...)
	tail := plan.Instructions[len(plan.Instructions)-afterRoute:]
	limit := chain.ComputeLimit(0)
	isLimit := spelled[0].Program == limit.Program && len(spelled[0].Data) == len(limit.Data) && spelled[0].Data[0] == limit.Data[0]
	if !isLimit || len(spelled) < len(head)+len(tail) || !same(spelled[:len(head)], head) || !same(spelled[len(spelled)-len(tail):], tail) {
		return nil, false
	}
	return spelled[len(head) : len(spelled)-len(tail)], true
}

// same compares programs, accounts and data; what accounts may do is the union over a whole message.
func same(a, b []chain.Instruction) bool {
	return slices.EqualFunc(a, b, func(a, b chain.Instruction) bool {
		return a.Program == b.Program && bytes.Equal(a.Data, b.Data) &&
			slices.EqualFunc(a.Accounts, b.Accounts, func(a, b chain.Meta) bool { return a.Address == b.Address })
	})
}

func checkRoute(route []chain.Instruction) error {
	if len(route) == 0 {
		return fmt.Errorf("%w: it has no swap", ErrMessage)
	}
	for _, instruction := range route {
		if swap.Never(instruction.Program) {
			return fmt.Errorf("%w: its swap calls program %s", ErrMessage, instruction.Program)
		}
	}
	return nil
}
