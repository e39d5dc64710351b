// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Supplies reads how much of each of the lab's tokens there is.
func (l *Ledger) Supplies(ctx context.Context, lab *Lab) (map[string]uint64, error) {
	supplies := map[string]uint64{}
	for symbol, mint := range lab.Chain.Mints {
		supply, err := l.Supply(ctx, mint.Address)
		if err != nil {
			return nil, err
		}
		supplies[symbol] = supply
	}
	return supplies, nil
}

// Audit reads the jobs' money from the chain and holds it against the public records: every deposit must be fully accounted
// for, every record must say what the chain says, and each token's supply must be lower by exactly what was burned.
func (t *Teller) Audit(ctx context.Context, lab *Lab, before map[string]uint64, jobs ...*Job) error {
	ledger := NewLedger(lab)
	burned := map[string]uint64{}
	for _, job := range jobs {
		flow, err := ledger.Flow(ctx, job.Lease)
		if err != nil {
			return fmt.Errorf("%s: %w", job.Name, err)
		}
		token := string(job.Lease.Spec.Payment.Token)
		t.Say("%-16s deposit %d = supplier %d + treasury %d + burned %d + refunded %d (%s base units, %d claims)",
			job.Name, flow.Deposit, flow.Supplier, flow.Treasury, flow.Burn, flow.Refund, token, flow.Claims)
		if err := flow.Check(); err != nil {
			return fmt.Errorf("%s: %w", job.Name, err)
		}
		if err := t.compare(ctx, lab, job, flow); err != nil {
			return fmt.Errorf("%s: %w", job.Name, err)
		}
		burned[token] += flow.Burn
	}
	after, err := ledger.Supplies(ctx, lab)
	if err != nil {
		return err
	}
	for _, token := range slices.Sorted(maps.Keys(before)) {
		t.Say("%-16s supply %d before, %d after: lower by %d; burned by these jobs: %d", token, before[token], after[token], before[token]-after[token], burned[token])
		if before[token]-after[token] != burned[token] {
			return fmt.Errorf("the supply of %s fell by %d, but %d was burned", token, before[token]-after[token], burned[token])
		}
	}
	return nil
}

// compare holds the job's settlements against what the chain says.
func (t *Teller) compare(ctx context.Context, lab *Lab, job *Job, chain Flow) error {
	list, err := Settlements(ctx, lab, job)
	if err != nil {
		return err
	}
	recorded := Flow{Deposit: chain.Deposit}
	for _, s := range list {
		recorded.Supplier += uint64(*s.Spec.SupplierPaid)
		recorded.Treasury += uint64(*s.Spec.TreasuryPaid)
		recorded.Burn += uint64(*s.Spec.Burned)
		recorded.Refund += uint64(*s.Spec.Refunded)
		if *s.Spec.SupplierPaid > 0 {
			recorded.Claims++
		}
	}
	if recorded != chain {
		return fmt.Errorf("the settlements say %+v, the chain says %+v", recorded, chain)
	}
	return nil
}
