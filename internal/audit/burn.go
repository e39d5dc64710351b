// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/money"
)

// epoch is what the movements of one FeeBurn's time and mint burned and paid as fees, and how many of them did.
type epoch struct {
	burned, fees  money.Amount
	burning, paid int // movements that burned, and that burned or paid fees
}

func (e *epoch) add(m moved) error {
	var err error
	if e.burned, err = e.burned.Add(m.Burn); err != nil {
		return fmt.Errorf("sum burns: %w", err)
	}
	if e.fees, err = e.fees.Add(m.Treasury); err != nil {
		return fmt.Errorf("sum fees: %w", err)
	}
	if m.Burn > 0 {
		e.burning++
	}
	if m.Burn > 0 || m.Treasury > 0 {
		e.paid++
	}
	return nil
}

// burns holds every FeeBurn against the movements of all leases, and finds what was burned outside of them.
func (a *auditor) burns(ctx context.Context) error {
	for i := range a.records.FeeBurns {
		if err := a.burn(ctx, &a.records.FeeBurns[i]); err != nil {
			return err
		}
	}
	for _, m := range a.moved {
		if m.Burn == 0 || !m.Time.Before(a.settled) || a.covered(m) {
			continue
		}
		name := strings.ToLower(m.token.Symbol) + "-" + m.Time.UTC().Format(time.DateOnly)
		return &Mismatch{
			"FeeBurn " + boursev1.PublicNamespace + "/" + name, "status.burned", "a record of what " + m.Signature.String() + " burned", "not there at all",
		}
	}
	return nil
}

// within says whether a movement is of the burn's epoch.
func within(burn *boursev1.FeeBurn, m moved) bool {
	return m.mint == burn.Spec.Mint && !m.Time.Before(burn.Spec.From.Time) && m.Time.Before(burn.Spec.To.Time)
}

func (a *auditor) covered(m moved) bool {
	for i := range a.records.FeeBurns {
		if within(&a.records.FeeBurns[i], m) {
			return true
		}
	}
	return false
}

// burn holds one epoch's record against the movements. What is fresh may be in its sums already, or not yet.
func (a *auditor) burn(ctx context.Context, burn *boursev1.FeeBurn) error {
	if err := a.alone(burn); err != nil {
		return err
	}
	all, token, err := a.epoch(burn, func(moved) bool { return true })
	if err != nil {
		return err
	}
	old, _, err := a.epoch(burn, func(m moved) bool { return m.Time.Before(a.settled) })
	if err != nil {
		return err
	}
	if err := sums(burn, old, all); err != nil {
		return err
	}
	line := BurnLine{Name: burn.Name, Token: token, Claims: all.paid, Burned: all.burned, Treasury: all.fees}
	if err := a.bought(ctx, burn, &line); err != nil {
		return err
	}
	if line.Bought == "" && old == all && burn.Status.Amount != "" && all.paid > 0 && burn.Status.Amount != token.Format(all.burned) {
		return &Mismatch{named(burn), "status.amount", token.Format(all.burned), burn.Status.Amount}
	}
	a.report.Burns = append(a.report.Burns, line)
	return nil
}

// epoch sums up the movements of the burn's epoch that count.
func (a *auditor) epoch(burn *boursev1.FeeBurn, counts func(moved) bool) (epoch, money.Token, error) {
	var total epoch
	token := money.Token{Symbol: string(burn.Spec.Token)}
	for _, m := range a.moved {
		if !within(burn, m) || !counts(m) {
			continue
		}
		token = m.token
		if err := total.add(m); err != nil {
			return epoch{}, token, err
		}
	}
	return total, token, nil
}

// alone refuses two records of one mint whose epochs overlap, because both would count the same claims.
func (a *auditor) alone(burn *boursev1.FeeBurn) error {
	for i := range a.records.FeeBurns {
		other := &a.records.FeeBurns[i]
		if other != burn && other.Spec.Mint == burn.Spec.Mint && other.Spec.From.Before(&burn.Spec.To) && burn.Spec.From.Before(&other.Spec.To) {
			return &Mismatch{named(burn), "spec.from", "the beginning of an epoch of its own", "within " + named(other)}
		}
	}
	return nil
}

// sums compares what the record says with what it must say: all of it, or as much as had to be on record by now.
func sums(burn *boursev1.FeeBurn, old, all epoch) error {
	status := &burn.Status
	least, most := old.burning, all.burning
	if status.Fees != nil {
		least, most = old.paid, all.paid
		if err := between(burn, "status.fees", status.Fees, old.fees, all.fees); err != nil {
			return err
		}
	}
	var claims *int64
	if status.Claims != nil {
		claims = new(int64(*status.Claims))
	}
	if err := between(burn, "status.burned", status.Burned, old.burned, all.burned); err != nil {
		return err
	}
	return between(burn, "status.claims", claims, money.Amount(least), money.Amount(most)) //nolint:gosec // counts
}

func between(burn *boursev1.FeeBurn, field string, found *int64, least, most money.Amount) error {
	if found == nil && least == 0 || found != nil && units(found) >= least && units(found) <= most && units(found) != math.MaxUint64 {
		return nil
	}
	want := most.String()
	if least != most {
		want = "from " + least.String() + " to " + want
	}
	return &Mismatch{named(burn), field, want, number(found)}
}
