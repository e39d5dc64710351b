// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"encoding/binary"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Instructions of the Token program that the lease program uses.
const (
	closeAccount      = 9
	transferChecked   = 12
	burnChecked       = 15
	initializeAccount = 18
)

// tokenCall is one call of the Token program: the account it takes from, and the account, or the mint, it goes to.
type tokenCall struct {
	op       byte
	from, to chain.Address
	amount   money.Amount
}

// tokenCalls returns the Token program's calls that were made directly by the caller. The following calls are all that the
// transaction executed after it; a call belongs to the caller while it is deeper.
func tokenCalls(caller chain.Call, following []chain.Call) ([]tokenCall, error) {
	var made []tokenCall
	for _, call := range following {
		if call.Depth <= caller.Depth {
			break
		}
		if call.Depth > caller.Depth+1 || call.Program != chain.TokenProgram {
			continue
		}
		parsed, err := parseTokenCall(call)
		if err != nil {
			return nil, err
		}
		made = append(made, parsed)
	}
	return made, nil
}

// parseTokenCall reads one call. One that the lease program never makes does not add up.
func parseTokenCall(call chain.Call) (tokenCall, error) {
	if len(call.Data) == 0 {
		return tokenCall{}, fmt.Errorf("%w: empty token call", ErrMismatch)
	}
	parsed := tokenCall{op: call.Data[0]}
	accounts, size, to := 3, 1, 1
	switch parsed.op {
	case transferChecked:
		accounts, size, to = 4, 10, 2
	case burnChecked:
		size = 10
	case initializeAccount:
		accounts, size = 2, 33
	case closeAccount:
	default:
		return tokenCall{}, fmt.Errorf("%w: token call %d", ErrMismatch, parsed.op)
	}
	if len(call.Accounts) < accounts || len(call.Data) != size {
		return tokenCall{}, fmt.Errorf("%w: token call %d in another form", ErrMismatch, parsed.op)
	}
	parsed.from, parsed.to = call.Accounts[0], call.Accounts[to]
	if size == 10 {
		parsed.amount = money.Amount(binary.LittleEndian.Uint64(call.Data[1:]))
	}
	return parsed, nil
}

// expect compares what was made with what must have been. A payment of nothing is no call.
func expect(made []tokenCall, want ...tokenCall) error {
	for _, call := range want {
		if call.amount == 0 && (call.op == transferChecked || call.op == burnChecked) {
			continue
		}
		if len(made) == 0 {
			return fmt.Errorf("%w: token call %d of %s is missing", ErrMismatch, call.op, call.amount)
		}
		if made[0] != call {
			return fmt.Errorf("%w: token call %d of %s instead of %d of %s", ErrMismatch, made[0].op, made[0].amount, call.op, call.amount)
		}
		made = made[1:]
	}
	if len(made) > 0 {
		return fmt.Errorf("%w: surplus token call %d of %s", ErrMismatch, made[0].op, made[0].amount)
	}
	return nil
}
