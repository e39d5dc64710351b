// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// ErrNoProgram says that a wallet was told of no lease program, so that it can sign for none.
var ErrNoProgram = errors.New("it knows no lease program; name the one that you trust with --lease-program")

// Leases returns a Reader of what members sign for their leases: transactions of these lease programs, and vouchers for them.
func Leases(programs ...chain.Address) Reader {
	return func(message []byte) (Intent, error) {
		if len(programs) == 0 {
			return Intent{}, ErrNoProgram
		}
		found, err := escrow.ReadMessage(message, programs...)
		if err != nil {
			return Intent{}, err
		}
		intent := Intent{
			What:   whatOf(found),
			Wallet: found.Signer, Lamports: money.Amount(found.Lamports),
		}
		if found.Tokens > 0 {
			intent.Tokens = map[chain.Address]money.Amount{found.Mint: found.Tokens}
		}
		if found.Kind == escrow.KindOpen { // a lease opens once, and one that was closed stays closed; with another deposit it is another one
			intent.Once = fmt.Sprintf("%s for %d", intent.What, found.Tokens)
		}
		return intent, nil
	}
}

// whatOf names the lease, or all leases that are opened together.
func whatOf(found escrow.Intent) string {
	leases := make([]string, 0, 1+len(found.Others))
	leases = append(leases, found.Lease.String())
	for _, other := range found.Others {
		leases = append(leases, other.Lease.String())
	}
	return fmt.Sprintf("%s lease %s", verb(found.Kind), strings.Join(leases, " and "))
}

func verb(kind escrow.Kind) string {
	switch kind {
	case escrow.KindOpen:
		return "open"
	case escrow.KindClaim:
		return "claim from"
	case escrow.KindClose:
		return "close"
	case escrow.KindVoucher:
		return "promise for"
	case escrow.KindTopUp:
		return "top up"
	case escrow.KindExtend:
		return "extend"
	case escrow.KindDispute:
		return "dispute"
	case escrow.KindAward:
		return "award from"
	default:
		return string(kind)
	}
}

// Stakes returns a Reader of what members sign for their stakes and rewards at these programs.
func Stakes(programs ...chain.Address) Reader {
	return func(message []byte) (Intent, error) {
		if len(programs) == 0 {
			return Intent{}, ErrNoProgram
		}
		found, err := stake.ReadMessage(message, programs...)
		if err != nil {
			return Intent{}, err
		}
		intent := Intent{
			What:   fmt.Sprintf("%s at %s", found.Kind, found.Account),
			Wallet: found.Signer, Lamports: found.Lamports,
		}
		if found.Tokens > 0 {
			intent.Tokens = map[chain.Address]money.Amount{found.Mint: found.Tokens}
		}
		return intent, nil
	}
}
