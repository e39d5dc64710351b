// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// WalletTokens returns what a wallet's token account holds. It refuses one of another mint or wallet, one that somebody else could take
// from, and one that is frozen.
func WalletTokens(account chain.Account, wallet, mint chain.Address) (money.Amount, error) {
	found, err := readTokens(account)
	switch {
	case err != nil:
		return 0, err
	case found.mint != mint:
		return 0, refuse(WrongTerms, "token account %s holds mint %s instead of %s", account.Address, found.mint, mint)
	case found.owner != wallet:
		return 0, refuse(WrongOwner, "token account %s belongs to %s instead of %s", account.Address, found.owner, wallet)
	case found.delegated || found.closeAuthority:
		return 0, refuse(WrongOwner, "token account %s can be used by a delegate", account.Address)
	case found.frozen:
		return 0, refuse(Frozen, "token account %s is frozen by the issuer of %s", account.Address, mint)
	}
	return found.amount, nil
}
