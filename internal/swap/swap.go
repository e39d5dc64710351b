// SPDX-License-Identifier: Apache-2.0

// Package swap obtains instructions that exchange one token for another, and judges them before anybody signs: which programs they call,
// which accounts they may write, what they take and what they must yield. It signs and sends nothing, and it believes no exchange.
package swap

import (
	"context"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Request asks for an exchange of exactly Amount of one token, taken from one account of the taker into another.
type Request struct {
	Taker       chain.Address
	Pay, Get    chain.Address // mints
	From, Into  chain.Address // the taker's token accounts
	Amount      money.Amount
	SlippageBps uint16 // how much less than expected is still acceptable
}

// Route is an exchange as its provider proposes it. Nothing in it is to be trusted before Rules approve of it.
type Route struct {
	Amount       money.Amount // what is taken
	Expected     money.Amount // what it should yield
	Least        money.Amount // what it must yield
	Instructions []chain.Instruction
	Tables       []chain.Address // lookup tables on the chain
}

// Port proposes routes. Its errors are *Refusal with Unavailable, NoRoute, Unauthorized, Tip or Garbage, and they never show a secret.
type Port interface {
	Build(ctx context.Context, request Request) (Route, error)
}

// Reason says in one word why there is no route to sign. It is an error itself, so that errors.Is finds it in a Refusal.
//
//nolint:errname // reasons are named as users see them
type Reason string

// The reasons. The first ones come from a provider, the others from Rules.
//
//nolint:errname // reasons are named as users see them
const (
	Unavailable  Reason = "Unavailable"  // the provider did not answer, or asks to wait
	Unauthorized Reason = "Unauthorized" // the provider refuses the API key
	NoRoute      Reason = "NoRoute"      // the provider refuses what was asked
	Garbage      Reason = "Garbage"      // the provider's answer makes no sense

	Tip            Reason = "Tip"            // the route pays somebody for landing it
	WrongAmount    Reason = "WrongAmount"    // it takes something else than was asked, or more than allowed
	OutsideBound   Reason = "OutsideBound"   // it yields too little, or suspiciously much
	ForeignProgram Reason = "ForeignProgram" // it calls a program that is not allowed
	ForeignSigner  Reason = "ForeignSigner"  // it wants another signature
	ForeignAccount Reason = "ForeignAccount" // it would write another account of ours
	Detour         Reason = "Detour"         // it does not go from and into our accounts
)

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Refusal is a route that is not to be signed: the reason, and what was found for people.
//
//nolint:errname // a verdict on a route, and an error only to whoever expected approval
type Refusal struct {
	Reason Reason
	Detail string
}

// Error describes the refusal on one line.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

func refuse(reason Reason, format string, values ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
}
