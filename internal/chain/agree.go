// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"time"
)

// seen is a value and the slot that it was read in.
type seen[T any] struct {
	value T
	slot  uint64
}

// agree reads a finalized value until enough endpoints say the same of it, and returns it with the lowest slot that they read it in. An
// endpoint that is behind what enough endpoints had reached before is not asked for its past. Values that differ may only be of
// different slots, so their endpoints are given time to come to the same one; of one slot there is one truth.
func agree[T any](ctx context.Context, q *Quorum, method string, read func(ctx context.Context, c *Client, since uint64) (seen[T], error),
	equal func(a, b T) bool,
) (seen[T], error) {
	same := func(a, b seen[T]) bool { return equal(a.value, b.value) }
	since := q.floor.Load()
	for round := 1; ; round++ {
		answers := ask(ctx, q, q.need, func(ctx context.Context, c *Client) (seen[T], error) { return read(ctx, c, since) },
			func(answers []answer[seen[T]]) bool { return len(largest(answers, same)) >= q.need })
		group := largest(answers, same)
		if len(group) >= q.need {
			agreed := slices.MinFunc(group, func(a, b answer[seen[T]]) int { return cmp.Compare(a.value.slot, b.value.slot) }).value
			q.raise(agreed.slot)
			return agreed, nil
		}
		for i := range answers {
			answers[i].slot = answers[i].value.slot
		}
		if round == agreeRounds || hopeless(q.need, answers, same) {
			return seen[T]{}, lacking(method, q.need, answers, same)
		}
		since = max(since, reached(q.need, answers))
		if err := wait(ctx, q.pause); err != nil {
			return seen[T]{}, NewError(method, Retry, err)
		}
	}
}

// hopeless says whether waiting cannot make enough answers the same: too few endpoints work, or one slot has two values.
func hopeless[T any](need int, answers []answer[seen[T]], same func(a, b seen[T]) bool) bool {
	working := 0
	for _, a := range answers {
		if a.err == nil || errors.Is(a.err, errBehind) {
			working++
		}
	}
	if working < need {
		return true
	}
	values := good(answers)
	for _, a := range values {
		for _, b := range values {
			if a.value.slot == b.value.slot && !same(a.value, b.value) {
				return true
			}
		}
	}
	return false
}

// reached is the highest slot that enough endpoints have come to, so that no single one can name a slot that never comes.
func reached[T any](need int, answers []answer[seen[T]]) uint64 {
	values := good(answers)
	slots := make([]uint64, 0, len(values))
	for _, a := range values {
		slots = append(slots, a.value.slot)
	}
	if len(slots) < need {
		return 0
	}
	slices.Sort(slots)
	return slots[len(slots)-need]
}

// raise notes a slot that enough endpoints have reached.
func (q *Quorum) raise(slot uint64) {
	for {
		floor := q.floor.Load()
		if slot <= floor || q.floor.CompareAndSwap(floor, slot) {
			return
		}
	}
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Account reads one account. That an address holds nothing is an answer, not an error.
func (q *Quorum) Account(ctx context.Context, address Address, level Commitment) (Account, error) {
	accounts, err := q.Accounts(ctx, level, address)
	if err != nil {
		return Account{}, err
	}
	return accounts[0], nil
}

// Accounts reads up to 100 accounts as they were in one slot, in the order asked for. Finalized ones are what enough endpoints say;
// others may still change, so they decide nothing, and one endpoint's word is enough.
func (q *Quorum) Accounts(ctx context.Context, level Commitment, addresses ...Address) ([]Account, error) {
	const method = "getMultipleAccounts"
	if level != Finalized {
		return anyOf(ctx, q, method, func(ctx context.Context, c *Client) ([]Account, error) { return c.Accounts(ctx, level, addresses...) })
	}
	agreed, err := agree(ctx, q, method, func(ctx context.Context, c *Client, since uint64) (seen[[]Account], error) {
		accounts, err := c.accountsSince(ctx, &since, level, addresses)
		if err != nil || len(accounts) == 0 {
			return seen[[]Account]{}, err
		}
		return seen[[]Account]{accounts, accounts[0].Slot}, nil
	}, equalAccounts)
	for i := range agreed.value {
		agreed.value[i].Slot = agreed.slot
	}
	return agreed.value, err
}

// equalAccounts says whether two readings, perhaps of different slots, found the same.
func equalAccounts(a, b []Account) bool {
	return slices.EqualFunc(a, b, func(a, b Account) bool {
		return a.Address == b.Address && a.Exists == b.Exists && a.Owner == b.Owner && a.Lamports == b.Lamports &&
			a.Executable == b.Executable && bytes.Equal(a.Data, b.Data)
	})
}

// Transaction reads one finalized transaction, as enough endpoints hold it.
func (q *Quorum) Transaction(ctx context.Context, signature Signature) (Transaction, error) {
	same := func(a, b Transaction) bool { return reflect.DeepEqual(a, b) }
	answers := ask(ctx, q, q.need, func(ctx context.Context, c *Client) (Transaction, error) { return c.Transaction(ctx, signature) },
		func(answers []answer[Transaction]) bool { return len(largest(answers, same)) >= q.need })
	group := largest(answers, same)
	if len(group) < q.need {
		return Transaction{}, lacking("getTransaction", q.need, answers, same)
	}
	return group[0].value, nil
}

// Signatures lists the finalized transactions that mention the address, newest first, back to but without until. An endpoint that
// is not as far as another lists the same without the newest; the result is the longest list that enough endpoints hold.
func (q *Quorum) Signatures(ctx context.Context, address Address, until Signature) ([]SignatureInfo, error) {
	same := func(a, b []SignatureInfo) bool { return slices.Equal(a, b) }
	since := q.floor.Load()
	answers := ask(ctx, q, q.need, func(ctx context.Context, c *Client) ([]SignatureInfo, error) {
		return c.signaturesSince(ctx, &since, address, until)
	}, func(answers []answer[[]SignatureInfo]) bool { return len(largest(answers, same)) >= q.need })
	agreed, found := longest(q.need, good(answers))
	if !found {
		return nil, lacking("getSignaturesForAddress", q.need, answers, same)
	}
	return agreed, nil
}

// longest returns the longest list that ends enough lists.
func longest(need int, answers []answer[[]SignatureInfo]) (agreed []SignatureInfo, found bool) {
	for _, a := range answers {
		holders := 0
		for _, b := range answers {
			if extra := len(b.value) - len(a.value); extra >= 0 && slices.Equal(b.value[extra:], a.value) {
				holders++
			}
		}
		if holders >= need && (!found || len(a.value) > len(agreed)) {
			agreed, found = a.value, true
		}
	}
	return agreed, found
}

// Send submits signed bytes to every endpoint. One that takes them is enough, but it does not wait for more than enough of them.
func (q *Quorum) Send(ctx context.Context, raw []byte) error {
	took := func(a answer[struct{}]) bool { return a.err == nil || ClassOf(a.err) == Already }
	count := func(answers []answer[struct{}]) (taken int) {
		for _, a := range answers {
			if took(a) {
				taken++
			}
		}
		return taken
	}
	answers := ask(ctx, q, 1, func(ctx context.Context, c *Client) (struct{}, error) { return struct{}{}, c.Send(ctx, raw) },
		func(answers []answer[struct{}]) bool {
			return count(answers) >= q.need || verdict(q.need, answers) == Stop
		})
	if count(answers) > 0 {
		return nil
	}
	return lacking("sendTransaction", q.need, answers, func(struct{}, struct{}) bool { return true })
}

// lifetime is for how many blocks a blockhash can be used.
const lifetime = 150

// Blockhash returns a confirmed blockhash, with the latest end that any of enough endpoints gives for theirs. Too early an end would be
// taken for expiry while the bytes can still land; too late a one only delays. Endpoints that are a lifetime apart do not count together.
func (q *Quorum) Blockhash(ctx context.Context) (Blockhash, error) {
	answers := ask(ctx, q, q.need, func(ctx context.Context, c *Client) (Blockhash, error) { return c.Blockhash(ctx) },
		func(answers []answer[Blockhash]) bool { return len(together(q.need, answers)) > 0 })
	values := together(q.need, answers)
	if len(values) == 0 {
		return Blockhash{}, lacking("getLatestBlockhash", q.need, answers, near)
	}
	blockhash := values[0]
	for _, other := range values {
		blockhash.LastValidHeight = max(blockhash.LastValidHeight, other.LastValidHeight)
		blockhash.Slot = min(blockhash.Slot, other.Slot)
	}
	return blockhash, nil
}

// near says whether two blockhashes are of times that an honest node's delay explains.
func near(a, b Blockhash) bool {
	return max(a.LastValidHeight, b.LastValidHeight)-min(a.LastValidHeight, b.LastValidHeight) <= lifetime
}

// together returns the blockhashes of enough endpoints that are all near each other, the oldest first, or nothing.
func together(need int, answers []answer[Blockhash]) []Blockhash {
	named := good(answers)
	values := make([]Blockhash, 0, len(named))
	for _, a := range named {
		values = append(values, a.value)
	}
	slices.SortFunc(values, func(a, b Blockhash) int { return cmp.Compare(a.LastValidHeight, b.LastValidHeight) })
	for ; len(values) >= need; values = values[1:] {
		if near(values[0], values[need-1]) {
			return values[:need]
		}
	}
	return nil
}
