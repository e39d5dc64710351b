// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"encoding/binary"
	"math"
	"testing"
)

func unitLimit(units uint32) Call {
	return Call{Program: ComputeBudgetProgram, Data: ComputeLimit(units).Data}
}

func unitPrice(microLamports uint64) Call {
	return Call{Program: ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint64([]byte{setComputeUnitPrice}, microLamports)}
}

func TestCost(t *testing.T) {
	cases := map[string]struct {
		calls      []Call
		rents      []uint64
		signatures uint64
		want       uint64 // zero if it must be refused
	}{
		"one signature":                          {signatures: 1, want: 5_000},
		"two signatures":                         {signatures: 2, want: 10_000},
		"a token account":                        {rents: []uint64{TokenAccountSize}, signatures: 1, want: 2_039_280 + 5_000},
		"two accounts":                           {rents: []uint64{0, 1}, signatures: 1, want: 128*6_960 + 129*6_960 + 5_000},
		"a limit without a price":                {calls: []Call{unitLimit(200_000)}, signatures: 1, want: 5_000},
		"a price without a limit is for all":     {calls: []Call{unitPrice(1_000_000)}, signatures: 1, want: 1_400_000 + 5_000},
		"a priority fee is rounded up":           {calls: []Call{unitLimit(1), unitPrice(1)}, signatures: 1, want: 1 + 5_000},
		"a limit beyond what there is":           {calls: []Call{unitPrice(1_000_000), unitLimit(math.MaxUint32)}, signatures: 1, want: 1_400_000 + 5_000},
		"the greatest price for nothing":         {calls: []Call{unitLimit(0), unitPrice(math.MaxUint64)}, signatures: 1, want: 5_000},
		"a fee that overflows with the rest":     {calls: []Call{unitLimit(1_000_000), unitPrice(math.MaxUint64)}, signatures: 1},
		"a fee beyond counting":                  {calls: []Call{unitPrice(math.MaxUint64)}, signatures: 1},
		"signatures beyond counting":             {signatures: math.MaxUint64},
		"rents beyond counting":                  {rents: []uint64{1 << 51, 1 << 51}, signatures: 1},
		"rents that overflow with the signature": {rents: []uint64{math.MaxUint64/6_960 - 128}, signatures: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var cost Cost
			for _, call := range tc.calls {
				if _, err := cost.Budget(call); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			for _, size := range tc.rents {
				if err == nil {
					err = cost.Rent(size)
				}
			}
			got, errTotal := cost.Total(tc.signatures)
			if refused := err != nil || errTotal != nil; refused != (tc.want == 0) || !refused && got != tc.want {
				t.Errorf("%d lamports (%v, %v), want %d", got, err, errTotal, tc.want)
			}
		})
	}
}

func TestBudgetRefuses(t *testing.T) {
	cases := map[string][]Call{
		"a second limit":         {unitLimit(1), unitLimit(2)},
		"a second price":         {unitPrice(1), unitPrice(1)},
		"an account":             {{Program: ComputeBudgetProgram, Accounts: []Address{{1}}, Data: unitLimit(1).Data}},
		"another instruction":    {{Program: ComputeBudgetProgram, Data: []byte{1, 0, 0, 0, 0}}},
		"a limit that is longer": {{Program: ComputeBudgetProgram, Data: append(unitLimit(1).Data, 0)}},
		"nothing":                {{Program: ComputeBudgetProgram}},
	}
	for name, calls := range cases {
		t.Run(name, func(t *testing.T) {
			var cost Cost
			for i, call := range calls {
				if _, err := cost.Budget(call); (err != nil) != (i == len(calls)-1) {
					t.Errorf("call %d: error %v", i, err)
				}
			}
		})
	}
}
