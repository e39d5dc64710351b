// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"reflect"
	"slices"
)

// Status asks what became of a signature. That it is finalized, and that it is unknown up to a height, is what enough endpoints say,
// each of them by its own height; all else is on its way, as far as enough endpoints say.
func (q *Quorum) Status(ctx context.Context, signature Signature) (Status, error) {
	answers := ask(ctx, q, q.need, func(ctx context.Context, c *Client) (Status, error) { return c.Status(ctx, signature) },
		func(answers []answer[Status]) bool {
			found, unknown := sorted(answers)
			return len(largest(answers, settled)) >= q.need || len(unknown) >= q.need || len(found) >= q.need
		})
	return combine(q.need, answers)
}

// settled says whether both say that the signature is finalized, and with the same result.
func settled(a, b Status) bool {
	return a.Commitment == Finalized && b.Commitment == Finalized && a.Landed == b.Landed && reflect.DeepEqual(a.Failure, b.Failure)
}

// clashing says whether no honest nodes, however far each of them is, could say both.
func clashing(a, b Status) bool {
	if !a.Found {
		a, b = b, a
	}
	if a.Commitment != Finalized || b.Found && b.Commitment != Finalized {
		return false
	}
	if b.Found {
		return !settled(a, b)
	}
	return b.Finalized.Slot >= a.Landed && b.Slot >= b.Finalized.Slot && b.Oldest <= a.Landed
}

// rank orders commitments.
func rank(level Commitment) int {
	return slices.Index([]Commitment{Processed, Confirmed, Finalized}, level)
}

// sorted tells the answers that know the signature, the most settled first, from those that do not, the farthest first. An answer
// by a node that is behind its own height, as two nodes behind one address can be, comes last.
func sorted(answers []answer[Status]) (found, unknown []answer[Status]) {
	for _, a := range good(answers) {
		if a.value.Found {
			found = append(found, a)
		} else {
			unknown = append(unknown, a)
		}
	}
	slices.SortStableFunc(found, func(a, b answer[Status]) int { return cmp.Compare(rank(b.value.Commitment), rank(a.value.Commitment)) })
	proof := func(s Status) uint64 {
		if s.Slot < s.Finalized.Slot {
			return 0
		}
		return s.Finalized.Block
	}
	slices.SortStableFunc(unknown, func(a, b answer[Status]) int { return cmp.Compare(proof(b.value), proof(a.value)) })
	return found, unknown
}

// combine is what the answers say together.
//
//  1. Enough that say the same final result: that result.
//  2. Enough that do not know the signature: unknown, up to the lowest height and with the shortest memory of them.
//  3. Answers that cannot all be true: an error.
//  4. Otherwise it is known to some: as settled as enough of them say, and never final.
func combine(need int, answers []answer[Status]) (Status, error) {
	const method = "getSignatureStatuses"
	if group := largest(answers, settled); len(group) >= need {
		return group[0].value, nil
	}
	found, unknown := sorted(answers)
	if len(unknown) >= need {
		weakest := unknown[need-1].value
		for _, a := range unknown[:need] {
			weakest.Oldest = max(weakest.Oldest, a.value.Oldest)
		}
		return weakest, nil
	}
	for _, a := range found {
		for _, b := range good(answers) {
			if clashing(a.value, b.value) {
				return Status{}, NewError(method, Retry, disagreement(good(answers), func(c answer[Status]) bool { return !clashing(a.value, c.value) }))
			}
		}
	}
	if len(found)+len(unknown) < need {
		return Status{}, lacking(method, need, answers, func(Status, Status) bool { return true })
	}
	status := found[0].value
	status.Commitment, status.Failure = Processed, nil
	if len(found) >= need && found[need-1].value.Commitment != Processed {
		status.Commitment = Confirmed
	}
	return status, nil
}
