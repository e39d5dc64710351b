// SPDX-License-Identifier: Apache-2.0

package signer

import "fmt"

// Reason says in one word why a wallet did not sign. It is an error itself, so that errors.Is finds it in a Refusal. Reasons are what
// users see in conditions.
//
//nolint:errname // reasons are named as users see them
type Reason string

// The reasons.
//
//nolint:errname // reasons are named as users see them
const (
	Paused            Reason = "Paused"            // an administrator has paused the wallet
	SpendCapReached   Reason = "SpendCapReached"   // the wallet would spend more in one day than it may
	MessageRefused    Reason = "MessageRefused"    // the message is not one that this wallet signs
	SignerRefused     Reason = "SignerRefused"     // the remote signer answered, and not with the wallet's signature
	SignerUnavailable Reason = "SignerUnavailable" // the remote signer did not answer
)

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Refusal says that a wallet did not sign, and what to do about it. Nothing was signed, and trying again at once cannot help.
//
//nolint:errname // a decision, and an error only to whoever expected a signature
type Refusal struct {
	Reason Reason
	Detail string // one sentence for people: the limit, and the fix
}

// Error describes the refusal on one line.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

func refuse(reason Reason, format string, values ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
}
