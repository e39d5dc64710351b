// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"fmt"
)

// The market's published rates: 0.25 % reservation from each side, and 2 % facilitation from a buyer who pays in USDC.
// Worked with 100 USDC: the buyer pays 102.25, the supplier gets 99.75, fees are 2.50.
const (
	ReservationBps  = 25
	FacilitationBps = 200
)

// Bounds of a fee schedule, the same as the on-chain program's.
const (
	wholeBps   = 10_000
	MaxFeeBps  = 1_000
	MaxBurnBps = wholeBps
)

// ErrFees says that a fee schedule is out of bounds.
var ErrFees = errors.New("invalid fees")

// Fees is a lease's fee schedule in basis points: what each side pays on the gross amount, and which share of the fees is burned.
type Fees struct {
	BuyerBps    uint16
	SupplierBps uint16
	BurnBps     uint16
}

// Split says where the money of a gross amount goes. Debit = Supplier + Treasury + Burn, and the gross is Supplier + SupplierFee.
type Split struct {
	Debit       Amount // what leaves the buyer's deposit
	Supplier    Amount // what the supplier receives
	Treasury    Amount // fees that are kept
	Burn        Amount // fees that are burned
	BuyerFee    Amount // the buyer's part of the fees
	SupplierFee Amount // the supplier's part of the fees
}

// Validate says whether the on-chain program would accept the schedule.
func (f Fees) Validate() error {
	if f.BuyerBps > MaxFeeBps {
		return fmt.Errorf("%w: buyer's fee of %d bps exceeds %d", ErrFees, f.BuyerBps, MaxFeeBps)
	}
	if f.SupplierBps > MaxFeeBps {
		return fmt.Errorf("%w: supplier's fee of %d bps exceeds %d", ErrFees, f.SupplierBps, MaxFeeBps)
	}
	if f.BurnBps > MaxBurnBps {
		return fmt.Errorf("%w: burn share of %d bps exceeds %d", ErrFees, f.BurnBps, MaxBurnBps)
	}
	return nil
}

// Split divides a cumulative gross amount. Each fee and the burned share are rounded down, so the remainder of a base unit stays
// with whoever would have paid it; the parts always sum to the debit. Each part grows with the gross, so Sub never underflows.
func (f Fees) Split(gross Amount) (Split, error) {
	if err := f.Validate(); err != nil {
		return Split{}, err
	}
	buyerFee, supplierFee := Portion(gross, f.BuyerBps), Portion(gross, f.SupplierBps)
	debit, err := gross.Add(buyerFee)
	if err != nil {
		return Split{}, fmt.Errorf("split %s: %w", gross, err)
	}
	fee := buyerFee + supplierFee // at most a fifth of the gross
	burn := Portion(fee, f.BurnBps)
	return Split{
		Debit:       debit,
		Supplier:    gross - supplierFee,
		Treasury:    fee - burn,
		Burn:        burn,
		BuyerFee:    buyerFee,
		SupplierFee: supplierFee,
	}, nil
}

// MaxGross returns the greatest gross amount whose debit the deposit covers: what a buyer may promise without exceeding it.
func (f Fees) MaxGross(deposit Amount) (Amount, error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	low, _, err := mulDiv(uint64(deposit), wholeBps, wholeBps+uint64(f.BuyerBps))
	if err != nil {
		return 0, fmt.Errorf("divide deposit %s: %w", deposit, err)
	}
	// The quotient is at most one below the answer, because the fee is rounded down.
	gross := Amount(low)
	for next := gross + 1; next > gross && next <= deposit && Portion(next, f.BuyerBps) <= deposit-next; next++ {
		gross = next
	}
	return gross, nil
}

// Sub returns one period: the split of the cumulative gross now minus the split paid before.
func (s Split) Sub(before Split) (Split, error) {
	var period Split
	for _, part := range []struct {
		into         *Amount
		name         string
		now, earlier Amount
	}{
		{&period.Debit, "debit", s.Debit, before.Debit},
		{&period.Supplier, "supplier", s.Supplier, before.Supplier},
		{&period.Treasury, "treasury", s.Treasury, before.Treasury},
		{&period.Burn, "burn", s.Burn, before.Burn},
		{&period.BuyerFee, "buyer fee", s.BuyerFee, before.BuyerFee},
		{&period.SupplierFee, "supplier fee", s.SupplierFee, before.SupplierFee},
	} {
		amount, err := part.now.Sub(part.earlier)
		if err != nil {
			return Split{}, fmt.Errorf("subtract %s: %w", part.name, err)
		}
		*part.into = amount
	}
	return period, nil
}

// Portion returns floor(amount × bps / 10 000), which cannot overflow for bps ≤ 10 000: divide first, then the remainder.
func Portion(amount Amount, bps uint16) Amount {
	return amount/wholeBps*Amount(bps) + amount%wholeBps*Amount(bps)/wholeBps
}
