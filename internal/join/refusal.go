// SPDX-License-Identifier: Apache-2.0

package join

import "fmt"

// Reason says in one word why a claim was refused. It is an error itself, so that errors.Is finds it in a Refusal. Reasons are what users
// and programs see.
//
//nolint:errname // reasons are named as users see them
type Reason string

// The reasons.
//
//nolint:errname // reasons are named as users see them
const (
	Malformed          Reason = "Malformed"          // the claim cannot be read, or says what no claim may
	UnsupportedVersion Reason = "UnsupportedVersion" // it is of a version that this hub does not speak
	OtherHub           Reason = "OtherHub"           // it was signed for another hub
	OtherNetwork       Reason = "OtherNetwork"       // it was signed for another network
	UnknownChallenge   Reason = "UnknownChallenge"   // its challenge is not this server's, or was made for another wallet
	Expired            Reason = "Expired"            // its challenge, or the delegation to its agent, has ended
	WrongKey           Reason = "WrongKey"           // the key that must have signed it has not
	Replayed           Reason = "Replayed"           // its challenge was used before
	Busy               Reason = "Busy"               // more claims come than can be looked after
	WalletTaken        Reason = "WalletTaken"        // the wallet is a member by another way, in another namespace
	NotMember          Reason = "NotMember"          // the wallet of a renewal or a leave has not joined
	Suspended          Reason = "Suspended"          // the market's admin has suspended the member
	StakeRequired      Reason = "StakeRequired"      // the wallet has less at stake than the hub asks of new members
	Leaving            Reason = "Leaving"            // what the wallet's member left behind is being removed
)

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Refusal says that a claim was refused, and what to do about it.
//
//nolint:errname // a decision, and an error only to whoever expected a member
type Refusal struct {
	Reason Reason
	Detail string // one sentence for people
}

// Error describes the refusal on one line.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// Refuse returns a Refusal.
func Refuse(reason Reason, format string, values ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
}
