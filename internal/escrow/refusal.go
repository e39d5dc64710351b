// SPDX-License-Identifier: Apache-2.0

package escrow

import "fmt"

// Reason says in one word why something on the chain was refused. It is an error itself, so that errors.Is finds it in a Refusal.
//
//nolint:errname // reasons are named as users see them
type Reason string

// The reasons.
//
//nolint:errname // reasons are named as users see them
const (
	Absent          Reason = "Absent"          // nothing is at the address
	Closed          Reason = "Closed"          // the lease was closed: it can never be paid from again
	WrongAddress    Reason = "WrongAddress"    // the account is not where the terms put it
	WrongOwner      Reason = "WrongOwner"      // the account belongs to another program
	WrongLayout     Reason = "WrongLayout"     // size, marker, version or reserved bytes are not ours
	WrongTerms      Reason = "WrongTerms"      // the lease says something else than the terms
	WrongVault      Reason = "WrongVault"      // the vault is not the lease's, or somebody else could take from it
	WrongConfig     Reason = "WrongConfig"     // the market's configuration does not allow the terms
	Inconsistent    Reason = "Inconsistent"    // fields that the program never writes together
	Overpaid        Reason = "Overpaid"        // the lease paid more than its deposit covers
	Underfunded     Reason = "Underfunded"     // the vault holds less than it must
	Frozen          Reason = "Frozen"          // the token's issuer froze the vault
	Uninitialized   Reason = "Uninitialized"   // the mint was never made
	WrongDecimals   Reason = "WrongDecimals"   // the mint has other decimals than the market says
	UnsafeExtension Reason = "UnsafeExtension" // a token program whose mints can take fees, run hooks or seize balances
	Freezable       Reason = "Freezable"       // the mint has a freeze authority and the market does not accept one
)

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Refusal is a refused account: the reason, and what was found for people.
//
//nolint:errname // a verdict on an account, and an error only to whoever expected approval
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
