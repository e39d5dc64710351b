// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// lease follows one lease's escrow through the chain, and holds its records and its status against it.
func (a *auditor) lease(ctx context.Context, lease *boursev1.GPULease) error {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return &Mismatch{named(lease), "spec", "readable terms", "ones that are not (" + err.Error() + ")"}
	}
	address, err := terms.Address()
	if err != nil {
		return fmt.Errorf("derive escrow of %s: %w", lease.Name, err)
	}
	if string(lease.Spec.Escrow.Address) != address.String() {
		return &Mismatch{named(lease), "spec.escrow.address", address.String(), string(lease.Spec.Escrow.Address)}
	}
	movements, err := escrow.ReadMovements(ctx, a.chain, terms)
	if err != nil {
		return mismatched(lease, err)
	}
	token := money.Token{Symbol: string(lease.Spec.Payment.Token), Decimals: terms.Decimals}
	line := LeaseLine{Name: lease.Namespace + "/" + lease.Name, Token: token}
	if err := line.add(terms, movements); err != nil {
		return &Mismatch{named(lease), "spec.escrow", "an escrow whose parts sum to its deposit", "one whose parts do not (" + err.Error() + ")"}
	}
	if err := a.settlements(lease, token, movements, &line); err != nil {
		return err
	}
	if err := usage(lease, terms, movements); err != nil {
		return err
	}
	for _, movement := range movements {
		a.moved = append(a.moved, moved{movement, lease.Spec.Payment.Mint, token})
	}
	a.report.Leases = append(a.report.Leases, line)
	return nil
}

// add sums the movements up, and derives every fee again from the lease's terms. A closed escrow has given back what it held.
func (l *LeaseLine) add(terms escrow.Terms, movements []escrow.Movement) error {
	var before money.Split
	for _, movement := range movements {
		l.Opened = l.Opened || movement.Kind == escrow.KindOpen
		l.Closed = l.Closed || movement.Kind == escrow.KindClose
		if movement.Kind == escrow.KindClaim || movement.Kind == escrow.KindAward {
			now, err := terms.Fees.Split(movement.Gross)
			if err != nil {
				return err
			}
			due, err := now.Sub(before)
			if err != nil {
				return err
			}
			if err := pays(movement, due); err != nil {
				return err
			}
			before = now
		} else if err := pays(movement, money.Split{}); err != nil {
			return err
		}
		if err := l.sum(movement); err != nil {
			return err
		}
	}
	return l.conserved()
}

// pays refuses a movement that paid anybody else than what was due.
func pays(movement escrow.Movement, due money.Split) error {
	if movement.Supplier != due.Supplier || movement.Treasury != due.Treasury || movement.Burn != due.Burn {
		return fmt.Errorf("%s paid %s, %s and %s; its terms say %s, %s and %s", movement.Kind,
			movement.Supplier, movement.Treasury, movement.Burn, due.Supplier, due.Treasury, due.Burn)
	}
	return nil
}

// conserved refuses sums of which more left than was deposited, or less when the escrow is closed.
func (l *LeaseLine) conserved() error {
	out, err := money.Sum(l.Supplier, l.Treasury, l.Burned, l.Refunded)
	if err != nil {
		return err
	}
	if !l.Closed && out > l.Deposit || l.Closed && out < l.Deposit { // strangers may add dust, which is refunded
		return fmt.Errorf("deposits of %s, and %s that left", l.Deposit, out)
	}
	return nil
}

func (l *LeaseLine) sum(movement escrow.Movement) error {
	for into, amount := range map[*money.Amount]money.Amount{
		&l.Deposit: movement.Deposit, &l.Supplier: movement.Supplier, &l.Treasury: movement.Treasury,
		&l.Burned: movement.Burn, &l.Refunded: movement.Refund,
	} {
		var err error
		if *into, err = into.Add(amount); err != nil {
			return err
		}
	}
	return nil
}

// settlements holds the lease's records against its movements, one by one and in order.
func (a *auditor) settlements(lease *boursev1.GPULease, token money.Token, movements []escrow.Movement, line *LeaseLine) error {
	records := a.bySource[boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}]
	slices.SortStableFunc(records, func(x, y *boursev1.Settlement) int { return cmp.Compare(x.Spec.Period, y.Spec.Period) })
	period := 0
	for _, movement := range movements {
		if movement.Kind == escrow.KindOpen {
			continue
		}
		period++
		want, err := expected(lease, token, movement, period)
		if err != nil {
			return err
		}
		if period > len(records) {
			if movement.Time.Before(a.settled) {
				return &Mismatch{named(want), "spec.transaction", "a record of " + movement.Signature.String(), "not there at all"}
			}
			line.Waiting++
			continue
		}
		if err := differ(want, records[period-1]); err != nil {
			return err
		}
		line.Settlements++
	}
	if len(records) > period {
		return &Mismatch{named(records[period]), "spec.transaction", "a movement of the lease's escrow", "none (" + string(records[period].Spec.Transaction) + ")"}
	}
	return nil
}

// usage holds what the supplier says that it measured, was promised and was paid against the price and the chain.
func usage(lease *boursev1.GPULease, terms escrow.Terms, movements []escrow.Movement) error {
	var claimed, paid money.Amount
	deposit := terms.Deposit
	for _, movement := range movements {
		paid = movement.Gross // every movement carries the total so far
		if movement.Kind == escrow.KindClaim {
			claimed = movement.Gross
		}
		if movement.Kind == escrow.KindTopUp {
			deposit += movement.Deposit // the sum was checked
		}
	}
	status := &lease.Status
	if status.Paid != nil && units(status.Paid) > paid {
		return &Mismatch{named(lease), "status.paid", "at most " + paid.String(), number(status.Paid)}
	}
	if status.Usage == nil && claimed == 0 {
		return nil
	}
	if status.Usage == nil {
		return &Mismatch{named(lease), "status.usage", "a record of what was claimed", "missing"}
	}
	gross, err := price(lease, terms.Fees, deposit)
	if err != nil {
		return err
	}
	return promised(lease, gross, claimed)
}

// promised holds the supplier's figures against what its GPU time costs.
func promised(lease *boursev1.GPULease, gross, claimed money.Amount) error {
	status := &lease.Status
	if status.Usage.Gross == nil || units(status.Usage.Gross) != gross {
		return &Mismatch{named(lease), "status.usage.gross", gross.String(), number(status.Usage.Gross)}
	}
	if claimed > gross {
		return &Mismatch{named(lease), "status.usage.gross", "at least " + claimed.String() + ", which was claimed", gross.String()}
	}
	if status.Promised != nil && units(status.Promised) > gross {
		return &Mismatch{named(lease), "status.promised", "at most " + gross.String(), number(status.Promised)}
	}
	return nil
}

// price is what the lease's GPU time costs before fees, and never more than its deposit covers.
func price(lease *boursev1.GPULease, fees money.Fees, deposit money.Amount) (money.Amount, error) {
	spec, used := &lease.Spec, lease.Status.Usage.GPUMilliseconds
	most := int64(spec.Workers) * int64(spec.PerWorker) * int64(spec.Terms.DurationSeconds) * 1_000
	if used == nil || *used < 0 || *used > most {
		return 0, &Mismatch{named(lease), "status.usage.gpuMilliseconds", "from 0 to " + strconv.FormatInt(most, 10), number(used)}
	}
	gross, err := money.Gross(money.Amount(max(0, spec.Payment.PricePerGPUHour)), uint64(*used))
	if err != nil {
		return 0, fmt.Errorf("price usage of %s: %w", lease.Name, err)
	}
	covered, err := fees.MaxGross(deposit)
	if err != nil {
		return 0, fmt.Errorf("price usage of %s: %w", lease.Name, err)
	}
	return min(gross, covered), nil
}

// units reads an amount of the API; none, or one below zero, is more than any.
func units(value *int64) money.Amount {
	if value == nil || *value < 0 {
		return math.MaxUint64
	}
	return money.Amount(*value)
}

// number writes an optional number.
func number(value *int64) string {
	if value == nil {
		return "missing"
	}
	return strconv.FormatInt(*value, 10)
}
