// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
)

// simulated is a simulation, and what the watched accounts would hold after it.
type simulated struct {
	Simulation

	accounts []Account
}

// Simulate executes the bytes against the confirmed state. That they would fail is believed only when enough endpoints say it; that
// they would succeed decides nothing, because the chain does.
func (q *Quorum) Simulate(ctx context.Context, raw []byte) (Simulation, error) {
	simulation, _, err := q.SimulateAccounts(ctx, raw)
	return simulation, err
}

// SimulateAccounts does what Simulate does, and says what the watched accounts would hold afterwards, in the order asked for; nothing
// of them when it would fail. What they would hold is what enough endpoints say.
func (q *Quorum) SimulateAccounts(ctx context.Context, raw []byte, watched ...Address) (Simulation, []Account, error) {
	need := q.need
	if len(watched) == 0 {
		need = 1
	}
	answers := ask(ctx, q, need, func(ctx context.Context, c *Client) (simulated, error) {
		simulation, accounts, err := c.SimulateAccounts(ctx, raw, watched...)
		return simulated{simulation, accounts}, err
	}, func(answers []answer[simulated]) bool {
		return len(largest(answers, sameEffect)) >= need || len(refusals(answers)) >= q.need
	})
	if group := largest(answers, sameEffect); len(group) >= need {
		return group[0].value.Simulation, group[0].value.accounts, nil
	}
	refused := refusals(answers)
	if len(refused) < q.need {
		return Simulation{}, nil, lacking("simulateTransaction", q.need, answers, func(a, b simulated) bool {
			return a.Failure != nil && b.Failure != nil || sameEffect(a, b)
		})
	}
	// Of several reasons the one that leaves most open, such as a blockhash that one of them does not know yet.
	for _, a := range refused {
		if classOfFailure(a.value.Failure) != Failed {
			return a.value.Simulation, nil, nil
		}
	}
	return refused[0].value.Simulation, nil, nil
}

// sameEffect says whether both would succeed, with the same accounts in the end.
func sameEffect(a, b simulated) bool {
	return a.Failure == nil && b.Failure == nil && equalAccounts(a.accounts, b.accounts)
}

// refusals are the answers that say that the transaction would fail.
func refusals(answers []answer[simulated]) []answer[simulated] {
	return slices.DeleteFunc(good(answers), func(a answer[simulated]) bool { return a.value.Failure == nil })
}
