// SPDX-License-Identifier: Apache-2.0

// Package crashpoint names the steps at which a manager that handles money may die, so that tests can kill the real one at each of
// them. Only a build with the tag crashpoints dies; in every other build a point is nothing.
package crashpoint

// Names lists every point in the order of a lease's life. Those of the outbox come once for each purpose of a transaction.
func Names() []string {
	return []string{
		"voucher.creating", "voucher.created",
		"deposit.signed", "deposit.written", "outbox.sending.Open", "outbox.sent.Open", "deposit.landed", "deposit.recorded",
		"promise.signed", "promise.written",
		"claim.signed", "claim.written", "outbox.sending.Claim", "outbox.sent.Claim", "claim.landed", "claim.recorded",
		"settlement.creating", "settlement.created", "settlement.confirming", "settlement.confirmed",
		"close.signed", "close.written", "outbox.sending.Close", "outbox.sent.Close", "close.landed", "close.recorded",
	}
}
