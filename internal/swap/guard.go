// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/oracle"
)

// maxInstructions is far above what an exchange needs.
const maxInstructions = 12

// The place of the owner in a token account, of either token program.
const (
	tokenOwnerAt  = 32
	tokenOwnerEnd = 64
)

// Rules are what a route must keep to before it is tried.
type Rules struct {
	Request  Request
	Cap      money.Amount    // the most that may be taken
	Bound    oracle.Bound    // what must come out of it
	Programs []chain.Address // that it may call
}

// never are programs that a route may not call itself, whatever is allowed: with the taker's signature they move its tokens and lamports
// anywhere. An allowed program may call them.
var never = []chain.Address{ //nolint:gochecknoglobals // addresses fixed by the chain: they are read, never written
	chain.SystemProgram, chain.TokenProgram, chain.Token2022Program, chain.ComputeBudgetProgram, chain.LookupProgram,
}

// Never says whether a route may not call the program itself, whatever is allowed.
func Never(program chain.Address) bool { return slices.Contains(never, program) }

// Check refuses a route by its own words and instructions, by a *Refusal.
func (r Rules) Check(route Route) error {
	if err := r.checkAmounts(route); err != nil {
		return err
	}
	if len(route.Instructions) > maxInstructions {
		return refuse(ForeignProgram, "the route has %d instructions", len(route.Instructions))
	}
	for _, instruction := range route.Instructions {
		if err := r.checkInstruction(instruction); err != nil {
			return err
		}
	}
	if !route.writes(r.Request.From) || !route.writes(r.Request.Into) {
		return refuse(Detour, "the route does not go from %s into %s", r.Request.From, r.Request.Into)
	}
	return nil
}

func (r Rules) checkAmounts(route Route) error {
	switch {
	case route.Amount != r.Request.Amount:
		return refuse(WrongAmount, "the route takes %s instead of %s", route.Amount, r.Request.Amount)
	case route.Amount > r.Cap:
		return refuse(WrongAmount, "the route takes %s of at most %s", route.Amount, r.Cap)
	case !r.Bound.Contains(route.Expected):
		return refuse(OutsideBound, "the route yields %s; the oracle's price says %s to %s", route.Expected, r.Bound.Least, r.Bound.Most)
	case route.Least < r.Bound.Least || route.Least > route.Expected:
		return refuse(OutsideBound, "the route may yield as little as %s; the oracle's price says %s at least", route.Least, r.Bound.Least)
	default:
		return nil
	}
}

// writes says whether any instruction may change the account.
func (r Route) writes(account chain.Address) bool {
	return slices.ContainsFunc(r.Instructions, func(instruction chain.Instruction) bool {
		return slices.ContainsFunc(instruction.Accounts, func(meta chain.Meta) bool { return meta.Address == account && meta.Writable })
	})
}

func (r Rules) checkInstruction(instruction chain.Instruction) error {
	if Never(instruction.Program) || !slices.Contains(r.Programs, instruction.Program) {
		return refuse(ForeignProgram, "the route calls program %s", instruction.Program)
	}
	for _, meta := range instruction.Accounts {
		if meta.Signer && meta.Address != r.Request.Taker {
			return refuse(ForeignSigner, "the route needs the signature of %s", meta.Address)
		}
	}
	return nil
}

// Writes returns the accounts that a route may change, without the taker and the two token accounts that it is for, each once. They must
// be read from the chain and shown to CheckWrites.
func (r Rules) Writes(route Route) []chain.Address {
	var found []chain.Address
	ours := []chain.Address{r.Request.Taker, r.Request.From, r.Request.Into}
	for _, instruction := range route.Instructions {
		for _, meta := range instruction.Accounts {
			if meta.Writable && !slices.Contains(ours, meta.Address) && !slices.Contains(found, meta.Address) {
				found = append(found, meta.Address)
			}
		}
	}
	return found
}

// CheckWrites refuses a route that would write a token account of the taker other than the two that it is for.
func (r Rules) CheckWrites(accounts []chain.Account) error {
	for _, account := range accounts {
		tokens := account.Owner == chain.TokenProgram || account.Owner == chain.Token2022Program
		if !account.Exists || !tokens || len(account.Data) < tokenOwnerEnd {
			continue
		}
		if chain.Address(account.Data[tokenOwnerAt:tokenOwnerEnd]) == r.Request.Taker {
			return refuse(ForeignAccount, "the route would write %s, another token account of ours", account.Address)
		}
	}
	return nil
}
